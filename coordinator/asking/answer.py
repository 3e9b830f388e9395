"""What came of a question."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pi_cluster.coordinator.calling.tools import ToolCall
from pi_cluster.coordinator.finish_reason import FinishReason
from pi_cluster.coordinator.timings import StageFigures, Timings

if TYPE_CHECKING:
    from pi_cluster.coordinator.logprobs import TokenLogprobs
    from pi_cluster.coordinator.pooling import Vector


@dataclass(frozen=True, slots=True)
class Answer:
    """A text that has ended, whether by itself or because it was interrupted."""

    text: str | None
    """None for a model without a tokenizer."""
    ids: list[int]
    """What was generated; without the end of sequence."""
    prompt_ids: list[int]
    finish_reason: FinishReason
    timings: Timings
    stages: tuple[StageFigures, ...]
    """What each stage did for it, in the order of the pipeline."""
    seed: int
    """With which the same question gives the same text."""
    logprobs: "list[TokenLogprobs]" = field(default_factory=list)
    """Of each of ``ids``, where they were asked for."""
    tool_calls: list[ToolCall] = field(default_factory=list)
    """What the model wants called; it is no part of ``text``."""

    vector: "Vector | None" = None
    """Of the prompt, with ``pooling``. Shape: ``(dim,) float32``, of length 1."""
    scores: list[float] | None = None
    """With ``scoring``, the log-probability of each of its ids."""

    @property
    def cached_tokens(self) -> int:
        """Of the prompt's: those that the pipeline held already and did not compute again."""
        return self.timings.cached_tokens

    @property
    def was_interrupted(self) -> bool:
        """Whether it was cancelled before its end."""
        return self.finish_reason is FinishReason.INTERRUPTED

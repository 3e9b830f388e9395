"""What is asked: a text, token ids or a conversation, and how its answer is to be made."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict, Unpack

from pi_cluster.coordinator.answer_text import AnswerText
from pi_cluster.coordinator.asking.parts import AnswerParts
from pi_cluster.coordinator.calling.reading import CallReader
from pi_cluster.coordinator.calling.tools import Tool, ToolUse
from pi_cluster.coordinator.constraint import Constraint
from pi_cluster.coordinator.generation import GenerationOptions
from pi_cluster.coordinator.pooling import Pooling
from pi_cluster.coordinator.scoring import Scoring
from pi_cluster.coordinator.text_model import Message
from pi_cluster.transformer.sampling_settings import SamplingSettings

Prompt = str | Sequence[int] | Sequence[Message]
"""A text, token ids, or the turns of a conversation."""

_SAMPLING = SamplingSettings()
_OPTIONS = GenerationOptions()


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and what takes the answer's tokens."""

    prompt_ids: Sequence[int]
    options: GenerationOptions
    new_text: Callable[[], AnswerText | None]
    """Makes what turns the answer into text; it gives None for a model that has none."""
    begins_in_thought: bool = False
    """Whether the prompt ends within a thought, which the answer goes on with."""
    new_constraint: Callable[[], Constraint] | None = None
    """Makes what the answer must keep to, anew each time that it is asked."""
    tool_use: ToolUse | None = None
    """What the model may have called."""
    new_calls: Callable[[], CallReader] | None = None
    """Makes what reads the answer's calls, if it may have some."""

    def new_parts(self) -> AnswerParts:
        """Makes what tells the parts of the answer from each other."""
        calls = self.new_calls() if self.new_calls else None
        return AnswerParts(begins_in_thought=self.begins_in_thought, calls=calls)


class GenerationKeywords(TypedDict, total=False):
    """Keywords with the meanings and defaults of ``pi-cluster prompt``."""

    max_tokens: int
    temperature: float
    """0 always takes the likeliest token."""
    top_k: int
    top_p: float
    min_p: float
    repeat_penalty: float
    seed: int | None
    """The same seed gives the same text; None draws one."""
    chunk_size: int | None
    """Prompt tokens in one step; None takes what suits the pipeline."""
    ignore_eos: bool
    draft: bool
    """Whether to guess ahead, which never changes the text."""
    asker: str
    """Who asks: askers take turns where requests have to wait."""
    one_off: bool
    """Whether nobody will go on with the text: its caches are the first to make room."""
    presence_penalty: float
    """From -2 to 2: off the logit of each token that was generated. This, the next two and
    ``repeat_penalty`` need all logits of each token, which is slower."""
    frequency_penalty: float
    """From -2 to 2: the same, for each time that it was generated."""
    logit_bias: Mapping[int, float]
    """From -100 to 100, by token id: added to its logit."""
    pooling: Pooling | None
    """Give the text's vector instead of an answer, which is None. See ``PipelineClient.embed``."""
    scoring: Scoring | None
    """Tell how likely ids of the prompt are instead. See ``PipelineClient.score``."""
    logprobs: int | None
    """Log-probabilities of the tokens, each with so many alternatives, up to 20."""


class AskKeywords(GenerationKeywords, total=False):
    """What may be said of a question beside what is asked."""

    raw: bool
    """Continue the text itself, without a chat template."""
    think: bool | None
    """Whether to think before the answer, where the chat template has a switch for that."""
    stop: str | Sequence[str]
    """End the text before any of these."""
    schema: Mapping[str, Any] | None
    """A JSON schema that the answer follows; ``{"type": "object"}`` is any object."""
    tools: Sequence[Tool | Mapping[str, Any]]
    """What the model may have called: ``Tool`` or ``{"type": "function", "function": {...}}``."""
    tool_choice: str | None
    """``auto``, ``none``, ``required``, or the name of the tool that is to be called."""
    parallel_tool_calls: bool
    """Whether one answer may have several calls."""
    continues: bool
    """Go on with the last turn, which is the assistant's."""
    truncate: bool
    """Leave off the end of a text that is too long for a vector, rather than refuse it."""


def generation_options(**chosen: Unpack[GenerationKeywords]) -> GenerationOptions:
    """Options from keywords. A setting out of range raises ``SettingsError`` naming it."""
    if unknown := chosen.keys() - GenerationKeywords.__annotations__.keys():
        raise TypeError(f"a question has no {', '.join(sorted(unknown))}")
    seed = chosen.get("seed")
    sampling = SamplingSettings(
        chosen.get("temperature", _SAMPLING.temperature),
        chosen.get("top_k", _SAMPLING.top_k),
        chosen.get("top_p", _SAMPLING.top_p),
        chosen.get("min_p", _SAMPLING.min_p),
        chosen.get("repeat_penalty", _SAMPLING.repeat_penalty),
        secrets.randbits(32) if seed is None else seed,
        chosen.get("presence_penalty", _SAMPLING.presence_penalty),
        chosen.get("frequency_penalty", _SAMPLING.frequency_penalty),
        chosen.get("logit_bias", _SAMPLING.logit_bias),
    )
    return GenerationOptions(
        sampling,
        chosen.get("max_tokens", _OPTIONS.max_tokens),
        chosen.get("chunk_size"),
        chosen.get("ignore_eos", _OPTIONS.ignore_eos),
        chosen.get("draft", _OPTIONS.draft),
        chosen.get("logprobs"),
        chosen.get("asker", _OPTIONS.asker),
        chosen.get("one_off", _OPTIONS.one_off),
        chosen.get("pooling"),
        chosen.get("scoring"),
    )

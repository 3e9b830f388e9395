"""Steps on their way through the pipeline, and the record of each that came back."""

from collections.abc import Sequence
from dataclasses import dataclass

from pi_cluster.coordinator.scheduling.running import Pick
from pi_cluster.coordinator.steps import StepChunk, StepResult


@dataclass(frozen=True, slots=True)
class StepRecord:
    """A step that came back, for pictures of who worked when."""

    sent_s: float
    """By the coordinator's clock, ``time.perf_counter``."""
    received_s: float
    rows: int
    guessed_rows: int
    prompt_rows: int
    result: StepResult


@dataclass(frozen=True, slots=True)
class SentStep:
    """A step in flight."""

    picks: Sequence[Pick]
    chunks: Sequence[StepChunk]
    sent_s: float
    is_alone: bool
    """Whether it was sent while no other was under way."""

    @property
    def rows(self) -> int:
        """Positions in all of its chunks."""
        return sum(len(chunk.ids) for chunk in self.chunks)

    @property
    def prompt_rows(self) -> int:
        """Those of them that prompts have."""
        return sum(pick.prompt_rows for pick in self.picks)

    def record(self, result: StepResult, received_s: float) -> StepRecord:
        """What is remembered of it."""
        guessed = sum(pick.guessed_rows for pick in self.picks)
        return StepRecord(self.sent_s, received_s, self.rows, guessed, self.prompt_rows, result)


class SentSteps:
    """The steps in flight by their numbers, which grow."""

    def __init__(self) -> None:
        self._steps: dict[int, SentStep] = {}

    def add(self, number: int, step: SentStep) -> None:
        """A step is sent."""
        self._steps[number] = step

    def take(self, number: int) -> SentStep:
        """A step has come back."""
        # Steps that were superseded as a whole lie before this one and do not come back.
        for step in [step for step in self._steps if step < number]:
            del self._steps[step]
        return self._steps.pop(number)

    def clear(self) -> None:
        """Nothing is under way any more."""
        self._steps.clear()

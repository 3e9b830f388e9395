"""What a pipeline has done for this program, counted by its scheduler."""

import collections
from collections.abc import Sequence
from dataclasses import dataclass, field

from pi_cluster.coordinator.stage_address import StageAddress
from pi_cluster.coordinator.steps import StageTime


@dataclass(slots=True)
class StageWork:
    """What one node has done."""

    node: str
    """Its name."""
    compute_s: float = 0.0
    idle_s: float = 0.0
    """It had nothing to do, also while nothing was asked."""


@dataclass(slots=True)
class Counters:
    """Sums that only grow, through one scheduler after another.

    The scheduler's thread alone writes, and beside it who mends what is lost while nobody asks; any
    may read, each number by itself.
    """

    steps: int = 0
    """That came back."""
    step_rows: int = 0
    """Positions in those steps."""
    prompt_rows: int = 0
    """Of those: of prompts. They are counted as they are read, and again where that was lost."""
    prompt_tokens: int = 0
    """Of the requests that were let in."""
    cached_tokens: int = 0
    """Of those: what the stages held already, and did not compute again."""
    generated_tokens: int = 0
    """Including those that were forced and those that were guessed."""
    forced_tokens: int = 0
    """That a constraint left no choice for."""
    right_by: collections.Counter[str] = field(default_factory=collections.Counter)
    wrong_by: collections.Counter[str] = field(default_factory=collections.Counter)
    """Guesses that were decided, by who made them."""
    stages: dict[str, StageWork] = field(default_factory=dict)
    """By the ids of nodes, also of those that have left; as far as steps have told."""
    heals: collections.Counter[str] = field(default_factory=collections.Counter)
    """Sessions that were lost and followed by one that works, by what they were lost to."""
    heal_seconds: dict[str, float] = field(default_factory=dict)
    """How long those lasted that were mended, from the last sign of who was lost; by the same."""
    not_healed: int = 0
    """Losses that were given up."""

    @property
    def right_guesses(self) -> int:
        """Of everybody."""
        return self.right_by.total()

    @property
    def wrong_guesses(self) -> int:
        """Of everybody."""
        return self.wrong_by.total()

    def add_heal(self, lost_to: str, seconds: float) -> None:
        """A session works after one that was lost; 0 seconds where nothing was to be mended."""
        self.heals[lost_to] += 1
        self.heal_seconds[lost_to] = self.heal_seconds.get(lost_to, 0.0) + seconds

    def add_step(
        self,
        rows: int,
        prompt_rows: int,
        stages: Sequence[StageAddress],
        times: Sequence[StageTime],
    ) -> None:
        """A step came back."""
        self.steps += 1
        self.step_rows += rows
        self.prompt_rows += prompt_rows
        for stage, time in zip(stages, times, strict=True):
            if (work := self.stages.get(stage.node_id)) is None:
                work = self.stages[stage.node_id] = StageWork(stage.name)
            work.compute_s += time.compute_s
            work.idle_s += time.idle_s

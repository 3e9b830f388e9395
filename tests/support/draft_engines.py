"""Small models for tests: a function of the text that keeps the rules, and a stage that is one."""

import threading
from collections.abc import Callable, Sequence

import numpy as np

from pi_cluster.coordinator.drafting.draft_engine import DraftFailed
from pi_cluster.coordinator.scheduling.cache_limits import CacheLimits
from pi_cluster.transformer.stage import Chunk, Stage
from tests.support.stages import run_step

NEVER = 10**9


class FunctionEngine:
    """Its likeliest id behind a text is ``says(text)``. Holds texts as a stage's caches would.

    It asserts what a stage would refuse, ``goes_back`` at most so many positions, and fails when it
    has computed ``fails_at`` times.
    """

    def __init__(
        self,
        says: Callable[[Sequence[int]], int],
        vocab_size: int,
        most_texts: int = 4,
        most_positions: int | None = None,
        goes_back: int = NEVER,
        fails_at: int = NEVER,
    ) -> None:
        self.vocab_size, self.most_texts, self.most_positions = (
            vocab_size,
            most_texts,
            most_positions,
        )
        self._says, self._goes_back, self._fails_at = says, goes_back, fails_at
        self.held: dict[int, list[int]] = {}
        self.computed = self.rows = 0
        self.is_going_on = threading.Event()
        """Cleared by a test that wants it to take for ever."""
        self.is_going_on.set()

    def compute(self, sequence: int, start: int, ids: Sequence[int]) -> np.ndarray:
        assert self.is_going_on.wait(30), "nobody lets it go on"
        self.computed += 1
        self.rows += len(ids)
        if self.computed >= self._fails_at:
            raise DraftFailed("its machine has burnt down")
        held = self.held.setdefault(sequence, [])
        assert len(self.held) <= self.most_texts, "more texts than it has caches for"
        assert 0 <= start <= len(held) and ids, "a text that does not go on where it ends"
        assert start == 0 or self.can_go_back(sequence, start), "what it saw is overwritten"
        held[start:] = ids
        assert self.most_positions is None or len(held) <= self.most_positions, "beyond its context"
        logits = np.zeros(self.vocab_size, np.float32)
        logits[self._says(held) % self.vocab_size] = 9.0
        return logits

    def can_go_back(self, sequence: int, length: int) -> bool:
        return len(self.held[sequence]) - length <= self._goes_back

    def end(self, sequence: int) -> None:
        self.held.pop(sequence, None)


class StageEngine:
    """A whole model in this process; nothing else may use its stage meanwhile."""

    def __init__(self, whole: Stage, limits: CacheLimits, most_positions: int | None) -> None:
        self.vocab_size, self.most_texts = whole.config.vocab_size, limits.max_sequences
        self.most_positions = most_positions
        self._whole, self._limits = whole, limits
        self._reached: dict[int, int] = {}

    def compute(self, sequence: int, start: int, ids: Sequence[int]) -> np.ndarray:
        logits = np.empty(0, np.float32)
        for at in range(0, len(ids), rows := self._limits.max_step_rows):
            part = np.array(ids[at : at + rows])
            chunk = Chunk(sequence, start + at, len(part))
            _, logits = run_step([self._whole], [chunk], part)
        before = self._reached.get(sequence, 0) if start else 0
        self._reached[sequence] = max(before, start + len(ids))
        return logits[-1]

    def can_go_back(self, sequence: int, length: int) -> bool:
        return self._limits.can_shorten(self._reached[sequence], length)

    def end(self, sequence: int) -> None:
        self._whole.end(sequence)
        self._reached.pop(sequence, None)

"""A virtual draft model: what it guesses, how often that is right, and how long it takes.

It plays the scripts of the virtual stages back, with another id at positions that a seed chooses.
Its caches follow what it is told to read, so once it has read a wrong id it is as confused as they.
"""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.virtual.playback import CONFUSED, PlayedSequence, Script

_WRONG = CONFUSED + 1  # in no script
_UNLIKELY = -20.0


@dataclass(frozen=True, slots=True)
class DraftPace:
    """A draft model on a machine of its own, as the coordinator sees it."""

    right: float
    """Of its guesses behind what is right."""
    token_s: float
    """For reading its weights once, and for the way there and back."""
    row_s: float
    """For multiplying a row, where many are read at once."""


class PlayedModel:
    """``DraftEngine`` that guesses so often right, and takes so long."""

    most_texts = 4
    most_positions = None

    def __init__(
        self, scripts: Sequence[Script], pace: DraftPace, vocab_size: int, seed: int = 0
    ) -> None:
        self.vocab_size = vocab_size
        self._scripts, self._pace, self._seed = scripts, pace, seed
        self._held: dict[int, tuple[PlayedSequence, int]] = {}

    def compute(self, sequence: int, start: int, ids: Sequence[int]) -> NDArray[np.float32]:
        """The script's next id, or another one; when the machine would have finished."""
        ends_s = time.perf_counter() + max(self._pace.token_s, len(ids) * self._pace.row_s)
        held, _ = self._held.get(sequence, (PlayedSequence(self._scripts), 0))
        held.truncate(start)
        following = held.extend(np.array(ids))[-1]
        stop = start + len(ids)
        self._held[sequence] = held, stop
        logits = np.full(self.vocab_size, _UNLIKELY, np.float32)
        logits[following if self._is_right(sequence, stop) else _WRONG] = 0.0
        while (left := ends_s - time.perf_counter()) > 0:
            time.sleep(left)
        return logits

    def can_go_back(self, sequence: int, length: int) -> bool:
        """It forgets nothing."""
        return length <= self._held[sequence][1]

    def end(self, sequence: int) -> None:
        """Forget a text."""
        self._held.pop(sequence, None)

    def _is_right(self, sequence: int, position: int) -> bool:
        draw = random.Random(f"{self._seed} {sequence} {position}")  # noqa: S311
        return draw.random() < self._pace.right

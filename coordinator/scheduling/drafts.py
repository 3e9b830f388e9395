"""Guesses at how a text goes on, and how far it is worth guessing.

Text often repeats what stands in its prompt: quotations, edited code, records of one shape. Looking
up where the last few ids occurred before costs nothing and guesses such text well (prompt lookup
decoding, A. Saxena, 2023; speculative decoding in general: arXiv:2211.17192).
"""

import math
from collections.abc import Sequence
from typing import Protocol

_LONGEST, _SHORTEST = 4, 2  # ids that must agree before what followed them is a guess
_WORTH = 0.2  # a guess less likely than this costs more, as a wrong one delays the next step
_MOST_AHEAD = 64
_PROBE_EVERY = 16  # chances that pass before one guess is tried, once guesses went wrong
_MEMORY = 0.95  # what older guesses count for, with each new one


class Drafter(Protocol):
    """Guesses the ids of one sequence."""

    def add(self, ids: Sequence[int]) -> None:
        """The text has grown by these ids."""
        ...

    def guess(self, guesses: Sequence[int], count: int) -> list[int]:
        """Up to ``count`` ids that may follow the text and the ``guesses`` made before."""
        ...


class NgramDrafter:
    """Goes on as the text did after the latest place where it read as it does now."""

    def __init__(self) -> None:
        self._text: list[int] = []
        # Where an n-gram was last followed by something, as the position of what follows it.
        self._after: dict[tuple[int, ...], int] = {}
        self._distance: int | None = None  # from a guess back to what it copies
        self._reached = 0  # the position behind its last guess

    def add(self, ids: Sequence[int]) -> None:
        """Remember what each n-gram was followed by."""
        for token in ids:
            here = len(self._text)
            for size in range(_SHORTEST, min(_LONGEST, here) + 1):
                self._after[tuple(self._text[here - size :])] = here
            self._text.append(token)

    def guess(self, guesses: Sequence[int], count: int) -> list[int]:
        """Copy on from the place that was found, as long as all guesses are its own."""
        known, ahead = len(self._text), list(guesses)
        if not guesses or known + len(ahead) != self._reached:
            self._distance = self._find([*self._text[-_LONGEST:], *ahead], len(ahead))
        if self._distance is None:
            return []
        # The copy may reach into the guesses themselves, where a pattern repeats.
        for at in range(
            known + len(ahead) - self._distance, known + len(ahead) - self._distance + count
        ):
            ahead.append(self._text[at] if at < known else ahead[at - known])
        self._reached = known + len(ahead)
        return ahead[len(guesses) :]

    def _find(self, end: Sequence[int], guesses: int) -> int | None:
        """How far back the place lies at which the text read as at its ``end``."""
        for size in range(min(_LONGEST, len(end)), _SHORTEST - 1, -1):
            place = self._after.get(tuple(end[-size:]))
            if place is not None:
                return len(self._text) + guesses - place
        return None


class DraftDepth:
    """How many ids to guess ahead: as many as are likely enough, by how it went so far."""

    def __init__(self) -> None:
        self._right, self._wrong = 2.0, 1.0
        self._chances = 0

    @property
    def share_right(self) -> float:
        """Of the guesses that were decided, the later ones counting for more."""
        return self._right / (self._right + self._wrong)

    def count(self, is_right: bool) -> None:
        """A guess was decided."""
        self._right = self._right * _MEMORY + is_right
        self._wrong = self._wrong * _MEMORY + (not is_right)

    def allowed(self) -> int:
        """Ids that may be guessed ahead now."""
        depth = math.floor(math.log(_WORTH) / math.log(min(self.share_right, 0.99)))
        if depth == 0:
            self._chances += 1
            return int(self._chances % _PROBE_EVERY == 0)
        return min(depth, _MOST_AHEAD)

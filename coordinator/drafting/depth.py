"""How far it is worth guessing."""

import math

_WORTH = 0.2  # a guess less likely than this costs more, as a wrong one delays the next step
_MOST_AHEAD = 64
_PROBE_EVERY = 16  # chances that pass before one guess is tried, once guesses went wrong
_MEMORY = 0.95  # what older guesses count for, with each new one


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

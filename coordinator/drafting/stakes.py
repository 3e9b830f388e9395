"""How far it is worth guessing."""

import math
from dataclasses import dataclass

_MOST_AHEAD = 64
_LEAST = 0.05  # a guess that nearly nobody believes in is not worth its row, were that free
_NEVER_SURE = 0.99


@dataclass(frozen=True, slots=True)
class Stakes:
    """What a guess wins where it is right, and costs where it is wrong, in seconds."""

    win_s: float
    cost_s: float
    step_s: float
    """Who takes longer than this for a guess keeps the pipeline waiting."""

    @property
    def least(self) -> float:
        """The chance from which on a guess wins more than it costs."""
        return max(_LEAST, self.cost_s / (self.cost_s + self.win_s))

    def depth(self, chance: float, share: float) -> int:
        """Guesses worth making, each right by this ``share``, behind some that are by ``chance``.

        The deepest of them is right only where all before it are.
        """
        share = min(share, _NEVER_SURE)
        if chance * share < self.least:
            return 0
        return min(_MOST_AHEAD, int(math.log(self.least / chance) / math.log(share)))

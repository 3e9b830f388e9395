"""Nodes that come and go: whoever is lost again and again is set aside for a while. Pure."""

from collections.abc import Sequence

MOST_LOSSES = 3
WITHIN_S = 600.0
ASIDE_S = 600.0


class Losses:
    """When which node was lost, as far back as it counts."""

    def __init__(self) -> None:
        self._lost_s: dict[str, Sequence[float]] = {}

    def note(self, node_id: str, now_s: float, times: int = 1) -> bool:
        """A node was lost, which counts ``times``; whether that sets it aside."""
        was_aside = self.is_set_aside(node_id, now_s)
        new = (now_s,) * times
        self._lost_s[node_id] = (*self._lost_s.get(node_id, ()), *new)[-MOST_LOSSES:]
        return not was_aside and self.is_set_aside(node_id, now_s)

    def is_set_aside(self, node_id: str, now_s: float) -> bool:
        """Whether a node was lost too often lately to count on it now."""
        lost_s = self._lost_s.get(node_id, ())
        if len(lost_s) < MOST_LOSSES:
            return False
        return lost_s[-1] - lost_s[0] <= WITHIN_S and now_s - lost_s[-1] < ASIDE_S

    def set_aside(self, now_s: float) -> frozenset[str]:
        """Ids of all that are set aside now."""
        return frozenset(one for one in self._lost_s if self.is_set_aside(one, now_s))

"""How much of the last seconds each node has computed."""

import collections

from pi_cluster.coordinator.scheduling.counters import Counters

_WINDOW_S = 5.0  # a step of a long prompt takes a Pi seconds, and is counted at its end


class Loads:
    """Shares of time by node, from sums that are looked at again and again."""

    def __init__(self) -> None:
        self._seen: collections.deque[tuple[float, dict[str, float]]] = collections.deque()

    def of(self, counters: Counters, now_s: float) -> dict[str, float]:
        """By node id, 0 to 1, since about 5 s ago; of none that nothing is known of before."""
        sums = {node: work.compute_s for node, work in tuple(counters.stages.items())}
        seen = self._seen
        seen.append((now_s, sums))
        while len(seen) > 2 and seen[1][0] <= now_s - _WINDOW_S:
            seen.popleft()
        began_s, before = seen[0]
        if now_s <= began_s:
            return {}
        # Another client, of another model, counts from 0.
        return {
            node: min(1.0, max(0.0, sum_s - before.get(node, 0.0)) / (now_s - began_s))
            for node, sum_s in sums.items()
        }

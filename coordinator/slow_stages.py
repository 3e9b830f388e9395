"""Stages that compute a step for far longer than they should: told of, and stuck in the end.

A hot or swapping node is slow, and answers. It is waited for, unless no slowness explains it.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pi_cluster.cluster.errors import NodeStuck
from pi_cluster.coordinator.stage_address import StageAddress
from pi_cluster.coordinator.step_times import StepTimes
from pi_cluster.coordinator.wait_limits import WaitLimits

_SLOW_TIMES = 5  # longer than it should take
_STUCK_TIMES = 20

OnSlow = Callable[[StageAddress, str], None]
"""Takes the stage that is slow and a sentence that says so; called on another thread."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A stage as its node told of it last."""

    computing_s: float
    """For how long it computes its present step; 0 between steps."""
    rows: int
    silent_s: float
    """For how long the node has not answered."""


class SlowStages:
    """Watches what stages tell of their steps; used by one thread."""

    def __init__(
        self,
        stages: Sequence[StageAddress],
        times: StepTimes,
        limits: WaitLimits,
        on_notice: Callable[[str], None],
        on_slow: OnSlow,
    ) -> None:
        self._stages = stages
        self._times = times
        self._limits = limits
        self._on_notice = on_notice
        self._on_slow = on_slow
        self._answering_since = [time.monotonic()] * len(stages)
        self._slow: dict[int, float] = {}  # those that were told of, and their seconds at last

    def look(self, seen: Sequence[Seen]) -> NodeStuck | None:
        """Tell who is slow, and who is through; what to raise of one that is stuck."""
        for index, one in enumerate(seen):
            if one.silent_s > self._limits.told_after_s / 2:
                # Whoever is stopped does not compute, though its clock goes on.
                self._answering_since[index] = time.monotonic()
                continue
            computing_s = min(one.computing_s, time.monotonic() - self._answering_since[index])
            self._tell_of(index, computing_s, one.rows)
            if self._is_beyond(index, computing_s, one.rows, _STUCK_TIMES):
                return self._stuck(index, computing_s, one.rows)
        return None

    def _tell_of(self, index: int, computing_s: float, rows: int) -> None:
        was_s = self._slow.get(index, 0.0)
        if computing_s < was_s:
            del self._slow[index]
            name = self._stages[index].name
            self._on_notice(f"{name} is through with that step, after some {was_s:.0f} s")
        elif index in self._slow:
            self._slow[index] = computing_s
        elif self._is_beyond(index, computing_s, rows, _SLOW_TIMES):
            self._slow[index] = computing_s
            said = (
                f"{self._computes(index, computing_s, rows)}: it is slow, not lost; see whether "
                "it is hot or short of memory"
            )
            self._on_notice(said)
            self._on_slow(self._stages[index], said)

    def _is_beyond(self, index: int, computing_s: float, rows: int, times: int) -> bool:
        floor_s = self._limits.slow_after_s if times == _SLOW_TIMES else self._limits.stuck_after_s
        if computing_s <= floor_s:
            return False
        expected_s = self._times.expected_s(index, rows)
        return expected_s is not None and computing_s > times * expected_s

    def _stuck(self, index: int, computing_s: float, rows: int) -> NodeStuck:
        stage = self._stages[index]
        words = f"{self._computes(index, computing_s, rows)}: it is stuck; restart its worker"
        return NodeStuck(words, [stage.node_id], awaited_s=computing_s)

    def _computes(self, index: int, computing_s: float, rows: int) -> str:
        expected_s = self._times.expected_s(index, rows) or 0.0
        positions = "1 position" if rows == 1 else f"{rows} positions"
        return (
            f"{self._stages[index].label} has been computing {positions} for {computing_s:.0f} s, "
            f"which should take it {_duration(expected_s)}"
        )


def _duration(seconds: float) -> str:
    return "less than 0.1 s" if seconds < 0.1 else f"about {seconds:.1f} s"

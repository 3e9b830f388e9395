"""Whether this node is short of memory, or slowed down for its heat: what is told with every sign.

A sign is asked for several times a second, so what is read here takes well below a millisecond.
"""

import threading
import time
from collections.abc import Callable
from pathlib import Path

from pi_cluster.cluster.errors import NodeLost
from pi_cluster.cluster.heat import slowed_to
from pi_cluster.protos import pi_cluster_pb2 as pb
from pi_cluster.worker.allocator import return_free_pages
from pi_cluster.worker.machine import board, memory_pressure
from pi_cluster.worker.machine.offer import UsableMemory
from pi_cluster.worker.machine.system_files import ROOT

# A plan leaves a tenth of what was free; texts grow by less than this between two looks.
LEAST_SHARE = 0.05
MOST_LEAST_BYTES = 128 << 20
_OVER_TIMES = 1.5  # so much more must be left before it is over, or it would be short every second
_WAITS_FOR_MORE_S = 10.0  # afterwards the least will do, or texts might wait forever
_STALLED_SHARE = 0.2  # weights are read from disk again and again
_OVER_STALLED_SHARE = 0.05
_LOOK_EVERY_S = 0.2
_CHECK_EVERY_S = 0.5
_LITTLE_BYTES = 1 << 20  # is checked only so often
_RECALLED_S = 3.0  # who asks again at once should hear of it
_SPIN_S = 0.02  # a governor raises the clock within milliseconds


class StrainGauge:
    """How this node bears what it does. For any number of threads."""

    def __init__(
        self,
        memory: UsableMemory,
        mapped_bytes: Callable[[], int],
        root: Path = ROOT,
        name: str = "this node",
    ) -> None:
        """``mapped_bytes`` are those of the stage's weights, which should stay in memory.

        ``root`` holds ``proc`` and ``sys``; ``name`` is ours.
        """
        self._name = name
        self._checked_s: float | None = None
        self._refused_s: float | None = None
        self._memory = memory
        self._mapped_bytes = mapped_bytes
        self._root = root
        self._lock = threading.Lock()
        self._looked_s: float | None = None
        self._is_short = False
        self._short_since_s = 0.0

    @property
    def is_short_of_memory(self) -> bool:
        """Whether it nears its limit: idle sequences should go, and no new ones come."""
        with self._lock:
            now = time.monotonic()
            if self._looked_s is None or now - self._looked_s >= _LOOK_EVERY_S:
                is_short = self._looks_short()
                if is_short and not self._is_short:
                    self._short_since_s = now
                self._is_short, self._looked_s = is_short, now
            return self._is_short

    def check_step(self, cache_bytes: int) -> None:
        """Raise ``NodeLost`` before a step would have Linux kill this worker; for one thread.

        It will add so many bytes to the caches.

        The session then ends, which frees its caches, and its texts are asked again: whoever would
        not hear that this node is short, or not in time, loses no more than by a killed worker.
        """
        now = time.monotonic()
        was_checked = self._checked_s is not None and now - self._checked_s < _CHECK_EVERY_S
        if cache_bytes < _LITTLE_BYTES and was_checked:
            return
        self._checked_s = now
        least = self._least_bytes / 2 + cache_bytes
        if self._memory.free_bytes < least:
            return_free_pages()
            if (left := self._memory.free_bytes) < least:
                self._refused_s = now
                raise NodeLost(
                    f"{self._name} let go of its texts when {left >> 20} MiB of memory were left "
                    f"and a step would take {cache_bytes >> 20} MiB: end other programs there, or "
                    "bring the pipeline up with fewer --texts"
                )

    def tell(self, reply: pb.PingReply) -> None:
        """Fill in what whoever waits for this node should know of it."""
        reply.short_of_memory = self.is_short_of_memory
        throttled = board.throttled(self._root)
        if throttled is None:
            return  # no Pi: what is hot for one is usual for a laptop
        reply.temperature_c = board.temperature_c(self._root)
        # A reply has no flags: it tells the clock of a slowed processor alone.
        share = slowed_to(throttled, board.clock_share(self._root))
        reply.clock_share = share if share < 1 else 0.0

    def describe(self, about: pb.NodeDescription) -> None:
        """The same for whoever plans and judges."""
        about.short_of_memory = self.is_short_of_memory
        about.temperature_c = board.temperature_c(self._root)
        throttled = board.throttled(self._root)
        if throttled is not None:
            about.firmware_flags = throttled
        about.clock_share = board.clock_share(self._root)
        if slowed_to(throttled, about.clock_share) < 1:
            about.clock_share = self._clock_share_at_work()

    def _looks_short(self) -> bool:
        if self._refused_s is not None and time.monotonic() - self._refused_s < _RECALLED_S:
            return True
        if self._has_little():
            # Of what sequences have left behind, some lies between blocks that are in use.
            return_free_pages()
            if self._has_little():
                return True
        most = _OVER_STALLED_SHARE if self._is_short else _STALLED_SHARE
        return memory_pressure.stalled_share(self._root) > most

    def _has_little(self) -> bool:
        left = self._memory.free_bytes - self._mapped_bytes()
        return left < self._least_bytes * (_OVER_TIMES if self._is_short_lately() else 1)

    def _is_short_lately(self) -> bool:
        """Short, and not for so long that what is left now may be all that ever will be."""
        return self._is_short and time.monotonic() - self._short_since_s < _WAITS_FOR_MORE_S

    @property
    def _least_bytes(self) -> float:
        return min(LEAST_SHARE * self._memory.total_bytes, MOST_LEAST_BYTES)

    def _clock_share_at_work(self) -> float:
        """The clock that the firmware allows, not the one that idleness asks for."""
        share, until = 0.0, time.monotonic() + _SPIN_S
        while time.monotonic() < until:
            share = max(share, board.clock_share(self._root))
        return share

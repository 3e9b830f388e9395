"""How a pipeline's stages are, for all who want to know."""

import asyncio
import time
from collections.abc import Callable

from pi_cluster.cluster.errors import ClusterError
from pi_cluster.coordinator.pipeline.status import PipelineStatus

_FRESH_S = 5.0


class Looks:
    """The pipeline as it was seen a few seconds ago; looking happens on a thread.

    All nodes are asked once, however many look at the same time.
    """

    def __init__(self, look: Callable[[], PipelineStatus]) -> None:
        """``look`` asks all nodes, and may take long."""
        self._look = look
        self._lock = asyncio.Lock()
        self._seen_s = float("-inf")
        self._status: PipelineStatus | None = None
        self._problem = ""

    async def latest(self, fresh_s: float = _FRESH_S) -> tuple[PipelineStatus | None, str]:
        """How its stages were at most ``fresh_s`` ago, or why they cannot be asked."""
        async with self._lock:
            if time.monotonic() - self._seen_s >= fresh_s:
                try:
                    self._status = await asyncio.to_thread(self._look)
                    self._problem = ""
                except ClusterError as error:
                    self._status, self._problem = None, str(error)
                self._seen_s = time.monotonic()
        return self._status, self._problem

"""Requests as other threads see them: they come in, wait, and are cancelled at any moment."""

import collections
import contextlib
import threading
from collections.abc import Iterable

from pi_cluster.cluster.errors import QueueFull
from pi_cluster.coordinator.generation import Generation


class Requests:
    """Those that wait for their place in the caches, in their order.

    Any thread may `add` and `cancel`; all else is the scheduler's, on its own thread.
    """

    def __init__(self, most: int) -> None:
        """``most`` may wait at once."""
        self._most = most
        self._lock = threading.Lock()
        self._waiting: collections.deque[Generation] = collections.deque()
        self._cancelled: set[Generation] = set()
        self._failure: Exception | None = None

    @property
    def failure(self) -> Exception | None:
        """Why none are taken any more; None while they are."""
        with self._lock:
            return self._failure

    def add(self, generation: Generation) -> None:
        """Let one wait. Raises ``QueueFull`` when too many do, and the failure after the end."""
        with self._lock:
            if self._failure:
                raise self._failure
            if len(self._waiting) >= self._most:
                raise QueueFull(
                    f"{len(self._waiting)} requests wait for the pipeline already: try again later"
                )
            generation.queue_position = len(self._waiting)
            self._waiting.append(generation)

    def cancel(self, generation: Generation) -> None:
        """Have one end as soon as the scheduler looks."""
        with self._lock:
            self._cancelled.add(generation)

    @property
    def first(self) -> Generation | None:
        """Whose turn it is."""
        with self._lock:
            return self._waiting[0] if self._waiting else None

    def let_in(self) -> None:
        """The first one waits no more."""
        with self._lock:
            self._waiting.popleft().queue_position = None

    def count(self) -> None:
        """Tell those that wait how many come before them."""
        with self._lock:
            for position, generation in enumerate(self._waiting):
                generation.queue_position = position

    def take_cancelled(self) -> tuple[set[Generation], list[Generation]]:
        """All that were cancelled since the last time, and those of them that waited here."""
        with self._lock:
            cancelled, self._cancelled = self._cancelled, set()
            waited = []
            for generation in cancelled:
                with contextlib.suppress(ValueError):
                    self._waiting.remove(generation)
                    waited.append(generation)
        return cancelled, waited

    def end(self, failure: Exception) -> Iterable[Generation]:
        """Take no more; returns those that waited."""
        with self._lock:
            self._failure = failure
            left = list(self._waiting)
            self._waiting.clear()
        return left

"""Whoever wants to be told of something while it goes on."""

import logging
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")


class Listeners(Generic[T]):
    """Functions that are called with each thing there is to tell, in the order they came in.

    They are called on the thread that tells, which serves everybody: a listener is quick, waits for
    nothing, and adds no others. One that raises is told no more; that is logged at once and kept as
    `failure`, and neither whoever tells nor the other listeners come to harm.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all: tuple[Callable[[T], object], ...] = ()
        self.failure: Exception | None = None
        """What the first listener that failed has raised."""

    def add(self, listener: Callable[[T], object]) -> None:
        """Tell it of everything from now on."""
        with self._lock:
            self._all = (*self._all, listener)

    def remove(self, listener: Callable[[T], object]) -> None:
        """Tell it no more; harmless when it is told no more already."""
        with self._lock:
            self._all = tuple(one for one in self._all if one != listener)

    def tell(self, thing: T) -> None:
        """Call all of them; never raises."""
        for listener in self._all:
            try:
                listener(thing)
            except Exception as error:
                log.exception("%r failed, and is told no more", listener)
                self.failure = self.failure or error
                self.remove(listener)

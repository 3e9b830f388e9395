"""How long somebody has not been heard, not counting what we slept through ourselves."""

import threading
import time

_MOST_S = 1.0  # between two looks of somebody who is awake


class Silence:
    """Seconds without a sign of somebody, for whoever looks again at least once a second.

    Whoever was stopped or starved meanwhile has heard nobody, and nobody else was silent: of any
    longer time between two looks one second counts. For any number of threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds = 0.0
        self._looked = time.monotonic()

    def heard(self) -> None:
        """There is a sign."""
        with self._lock:
            self._seconds, self._looked = 0.0, time.monotonic()

    def look(self) -> float:
        """Seconds since the last sign."""
        with self._lock:
            now = time.monotonic()
            self._seconds += min(now - self._looked, _MOST_S)
            self._looked = now
            return self._seconds

"""Calls that have sent nothing yet: each for a bounded time, strangers' in bounded number."""

import contextlib
import logging
import threading
import time
from collections.abc import Iterator

import grpc

log = logging.getLogger(__name__)


class SilentCalls:
    """A waiting room before the places: whoever speaks leaves it at once.

    When more strangers wait than there is room for, the one that has been silent longest is sent
    away: it may have nothing to say, and so nobody keeps others out by saying nothing.
    """

    def __init__(self, most: int, patience_s: float) -> None:
        self._most = most
        self._patience_s = patience_s
        self._lock = threading.Lock()
        self._since: dict[grpc.ServicerContext, tuple[float, bool]] = {}
        self._is_watched = False

    @contextlib.contextmanager
    def waiting(self, context: grpc.ServicerContext, is_stranger: bool) -> Iterator[None]:
        """The call counts as silent within the block, which it may be made to leave."""
        pushed_out = None
        with self._lock:
            if is_stranger:
                strangers = [one for one, (_, strange) in self._since.items() if strange]
                if len(strangers) >= self._most:
                    pushed_out = strangers[0]
                    del self._since[pushed_out]
            self._since[context] = time.monotonic(), is_stranger
            if not self._is_watched:
                self._is_watched = True
                self._watch(self._patience_s)
        if pushed_out:
            _end(pushed_out, "others came")
        try:
            yield
        finally:
            with self._lock:
                self._since.pop(context, None)

    def _watch(self, for_s: float) -> None:
        timer = threading.Timer(for_s, self._end_overdue)
        timer.daemon = True
        timer.start()

    def _end_overdue(self) -> None:
        oldest_s = time.monotonic() - self._patience_s
        with self._lock:
            overdue = [one for one, (since_s, _) in self._since.items() if since_s <= oldest_s]
            for one in overdue:
                del self._since[one]
            left = [since_s for since_s, _ in self._since.values()]
            self._is_watched = bool(left)
            if left:
                self._watch(min(left) - oldest_s)
        for one in overdue:
            _end(one, f"it took longer than {self._patience_s:g} s")


def _end(context: grpc.ServicerContext, why: str) -> None:
    log.warning("ended a call of %s that had sent no message yet: %s", context.peer(), why)
    context.cancel()

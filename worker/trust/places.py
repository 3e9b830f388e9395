"""Places for calls: how many are open at once, of all callers and of each."""

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator

import grpc

from pi_cluster.cluster.errors import PipelineBusy
from pi_cluster.cluster.trust.identity import Identity, Role
from pi_cluster.worker.trust.callers import Caller

MAX_CALLS_OF = {Role.NODE: 8, Role.COORDINATOR: 16, Role.HEALER: 24, Role.OPERATOR: 32}
"""At once, for one caller. A node sends steps of one session and fetches a few shards."""
_KEPT_FOR_OPERATORS = 16
"""Of all calls: those of others leave so many free, however many they are."""


class Places:
    """The calls that are open, each with its caller; None for a connection without certificate.

    A caller without one counts as its connection, and as an operator where nobody has any.
    ``_lock`` guards both fields, which are changed together.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._lock = threading.Lock()
        self._open: dict[grpc.ServicerContext, Caller | None] = {}
        self._calls_of: Counter[Identity | str] = Counter()

    @contextlib.contextmanager
    def taken(self, context: grpc.ServicerContext, caller: Caller | None) -> Iterator[None]:
        """One of the caller's places. Raises ``PipelineBusy`` when it has none left."""
        who = caller.identity if caller else context.peer()
        self._take(context, caller, who)
        try:
            yield
        finally:
            with self._lock:
                self._open.pop(context, None)
                self._calls_of[who] -= 1
                self._calls_of += Counter()  # drops those at zero

    def of(self, serials: frozenset[int]) -> list[tuple[grpc.ServicerContext, Caller]]:
        """The open calls of those whose certificates have these serial numbers."""
        with self._lock:
            return [
                (context, caller)
                for context, caller in self._open.items()
                if caller and caller.serial in serials
            ]

    def _take(
        self, context: grpc.ServicerContext, caller: Caller | None, who: Identity | str
    ) -> None:
        role = caller.identity.role if caller else Role.OPERATOR
        with self._lock:
            if self._calls_of[who] >= MAX_CALLS_OF[role]:
                raise PipelineBusy(f"{MAX_CALLS_OF[role]} calls of yours are open: end some first")
            kept = 0 if role is Role.OPERATOR else _KEPT_FOR_OPERATORS
            if len(self._open) >= self._count - kept:
                raise PipelineBusy(
                    f"{len(self._open)} calls are open on this node: try again later"
                )
            self._open[context] = caller
            self._calls_of[who] += 1

"""The door to a stage: coordinators' sessions come in, one at a time, and find their way out."""

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator

from pi_cluster.cluster import settings
from pi_cluster.cluster.errors import (
    AccessError,
    ClusterError,
    NodeError,
    NodeLost,
    PipelineBusy,
)
from pi_cluster.cluster.log_fields import LogFields
from pi_cluster.cluster.trust.identity import Identity, Role
from pi_cluster.cluster.wire.addresses import as_seen_from
from pi_cluster.cluster.wire.dialing import Dialer
from pi_cluster.cluster.wire.interfaces import own_interfaces
from pi_cluster.cluster.wire.options import check_wire_version
from pi_cluster.protos import pi_cluster_pb2 as pb
from pi_cluster.worker.stage.assignment import Assignment
from pi_cluster.worker.stage.outlet import NextHop, Outlet, ResultSink
from pi_cluster.worker.stage.session import StageSession
from pi_cluster.worker.stage.state import RunningSession, StageState

log = logging.getLogger(__name__)

_MAX_SINKS = 16  # one session runs; the others wait their turn. No caller may call oftener
_MAX_LABEL = 200


class Sessions:
    """Lets a session through when its turn comes, if its epoch is loaded and its caller is right.

    At the last stage its results are collected by another call, which comes first: ``_sinks`` has
    those calls by the session's name, and ``_lock`` guards it.
    """

    def __init__(self, state: StageState, dialer: Dialer) -> None:
        self._state = state
        self._dialer = dialer
        self._lock = threading.Lock()
        self._sinks: dict[str, ResultSink] = {}
        self.check_memory: Callable[[int], None] = lambda _: None
        """Raises if there is no room for so many bytes more in the caches."""

    @contextlib.contextmanager
    def open(
        self, header: pb.SessionHeader, caller: Identity | None = None
    ) -> Iterator[tuple[StageSession, Outlet]]:
        """Take the pipeline for one coordinator.

        One that rests gives way. Raises ``PipelineBusy`` when another one holds it, ``StaleEpoch``
        when ``header`` belongs to a pipeline that is no longer served, ``AccessError`` when the
        caller's certificate (None without any) is not that of whoever comes before this stage.
        """
        check_wire_version(header.wire_version, "the hop before")
        if caller is not None:
            _check_place(caller, self._state.loaded(header.epoch).assignment)
        with self._state.turn():
            loaded = self._state.loaded(header.epoch)
            session = StageSession(
                *(loaded.stage.stage, self._state.rested, _held_s(header), self.check_memory)
            )
            outlet = self._outlet(loaded.assignment, header, session)
            coordinator = header.coordinator[:_MAX_LABEL]
            running = RunningSession(header.session, coordinator, session, outlet)
            with self._state.passing(running, loaded), _told(running, header.epoch):
                yield session, outlet

    @contextlib.contextmanager
    def results(self, request: pb.CollectResultsRequest) -> Iterator[ResultSink]:
        """Receive the results of a session that is about to begin."""
        check_wire_version(request.wire_version, "the coordinator")
        if self._state.loaded(request.epoch).assignment.following:
            raise NodeError("results are collected from the last stage, and this is not it")
        sink = ResultSink()
        with self._lock:
            if request.session in self._sinks or len(self._sinks) == _MAX_SINKS:
                raise PipelineBusy(f"{_MAX_SINKS} coordinators wait for the pipeline already")
            self._sinks[request.session] = sink
        try:
            yield sink
        finally:
            with self._lock:
                del self._sinks[request.session]

    def ping(self, name: str) -> pb.PingReply:
        """Somebody asks after a session: it is kept, and how what follows it has been heard."""
        running = self._state.running
        if running is None or running.name != name:
            return pb.PingReply()
        running.session.heard()
        reply = pb.PingReply(next_silent_ms=int(running.outlet.silent_s * 1000))
        if computing := running.session.computing:
            reply.computing_ms = 1 + int(computing.seconds * 1000)
            reply.computing_rows = computing.rows
        return reply

    def end(self, error: ClusterError) -> None:
        """End the running session, if there is one, with an error."""
        self._state.end_session(error)

    def kept_out(self) -> contextlib.AbstractContextManager[None]:
        """Let none in for a moment, to measure. Raises ``PipelineBusy`` during one."""
        return self._state.alone()

    def _outlet(
        self, assignment: Assignment, header: pb.SessionHeader, session: StageSession
    ) -> Outlet:
        if assignment.following:
            # What was the best way to it may have changed since the stage was loaded.
            following = as_seen_from(assignment.following, own_interfaces())
            return NextHop(following, self._dialer, header, session.fail)
        with self._lock:
            sink = self._sinks.get(header.session)
        if sink is None:
            # Nobody sends steps before they collect: their connection has broken in between.
            raise NodeLost("nobody collects the results of this session any more")
        sink.attach(session.fail)
        return sink


@contextlib.contextmanager
def _told(running: RunningSession, epoch: int) -> Iterator[None]:
    """Log a session's beginning and its end, each with what it is known by."""
    about = LogFields(epoch=epoch, session=running.name[:_MAX_LABEL], caller=running.coordinator)
    log.info("a session begins", extra=about)
    why = ""
    try:
        yield
    except ClusterError as error:
        why = f": {error}"
        raise
    finally:
        about["step"] = running.session.steps
        log.info("a session has ended after %d steps%s", running.session.steps, why, extra=about)


def _held_s(header: pb.SessionHeader) -> float | None:
    """For how long a session is held that nobody asks after; None where nobody is to do so."""
    if not header.asked_after:
        return None
    return min(header.held_ms / 1000 or settings.SESSION_HELD_S, settings.MOST_SESSION_HELD_S)


def _check_place(caller: Identity, assignment: Assignment) -> None:
    """Steps come from a coordinator to the first stage, and from stage to stage after it."""
    previous = assignment.previous_node_id
    if assignment.layers.start == 0:
        if caller.role is Role.NODE:
            raise AccessError(f"the first stage takes no steps from {caller.label}")
    elif (caller.role, caller.id) != (Role.NODE, previous):
        raise AccessError(
            f"this stage takes steps from node {previous or '(none was named)'} before it, not "
            f"from {caller.label}"
        )

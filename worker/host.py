"""What a worker serves: at most one stage, and at most one session through it."""

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from cluster import settings, wire
from cluster.certificates import Identity, Role
from cluster.dialing import Dialer
from cluster.errors import AccessError, ClusterError, NodeError, PipelineBusy, StaleEpoch
from cluster.manifest import Manifest
from cluster.node import NodeClient
from cluster.peer import split_address
from cluster.plan import LayerRange
from kernels import KernelsError
from protos import pi_cluster_pb2 as pb
from transformer.errors import ModelError
from transformer.stage import Limits
from worker.allocator import return_free_pages
from worker.assignment import Assignment
from worker.last_assignment import LastAssignment
from worker.loading import LoadedStage
from worker.outlet import NextHop, Outlet, ResultSink
from worker.reach import why_not
from worker.session import Session
from worker.vault import ShardVault

log = logging.getLogger(__name__)

_MAX_SINKS = 4  # one session runs; a few more may be about to learn that it is busy
_MAX_LABEL = 200
_MAX_REASON = 1_000

Load = Callable[[Manifest, LayerRange, Limits], LoadedStage]
"""How layers of a store become a stage."""


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


@dataclass(slots=True)
class _Serving:
    assignment: Assignment
    loaded: LoadedStage
    steps: int = 0
    rows: int = 0


class StageHost:
    """Holds the stage, and lets sessions through one at a time.

    The slot is taken by whoever uses the stage, a session or its replacement; ``_lock`` guards
    the fields for moments only, and ``_changed`` tells those who wait for the slot.
    """

    def __init__(
        self, vault: ShardVault, load: Load, dialer: Dialer, last: LastAssignment | None = None
    ) -> None:
        """``last`` keeps what is served for the next start; None forgets it."""
        self._vault = vault
        self._last = last
        self._dialer = dialer
        self._load = load
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._taken = False
        self._serving: _Serving | None = None
        self._session: Session | None = None
        self._coordinator = ""
        self._sinks: dict[str, ResultSink] = {}

    def load(self, assignment: Assignment) -> int:
        """Replace what is served; returns the bytes of mapped weights.

        A running session ends with ``StaleEpoch``. When loading fails, nothing is served.
        """
        with self._replacing(assignment.epoch):
            loaded = self._serve(assignment)
            self._vault.prune({file.sha256 for file in assignment.manifest.files})
        return_free_pages()
        return loaded.weight_bytes

    def reload(self) -> None:
        """Serve again what was served before the last start, if it still can be.

        Shards of other stores stay: they may be those of the next one, broken off on their way.
        """
        assignment = self._last.read() if self._last else None
        if assignment is None:
            return
        try:
            with self._replacing(assignment.epoch):
                self._serve(assignment)
        except (ClusterError, ModelError, KernelsError, OSError) as error:
            log.warning("the stage from before cannot be loaded, starting empty: %s", error)
        return_free_pages()

    def unload(self, epoch: int) -> None:
        """Let go of the stage unless a newer epoch is served."""
        with self._replacing(epoch):
            self._vault.serve(())
        log.info("epoch %d: unloaded", epoch)

    def end_session(self, error: ClusterError) -> None:
        """End the running session, if there is one, with an error."""
        with self._lock:
            if self._session:
                self._session.fail(error)

    @contextlib.contextmanager
    def session(
        self, header: pb.SessionHeader, caller: Identity | None = None
    ) -> Iterator[tuple[Session, Outlet]]:
        """Take the pipeline for one coordinator.

        One that rests gives way. Raises ``PipelineBusy`` when another one holds it, ``StaleEpoch``
        when ``header`` belongs to a pipeline that is no longer served, ``AccessError`` when the
        caller's certificate (None without any) is not that of whoever comes before this stage.
        """
        wire.check_wire_version(header.wire_version, "the hop before")
        if caller is not None:
            _check_place(caller, self._served(header.epoch).assignment)
        self._take_turn()
        try:
            serving = self._served(header.epoch)
            session = Session(serving.loaded.stage, self._wake)
            outlet = self._outlet(serving.assignment, header, session)
            with self._lock:
                self._session = session
                self._coordinator = header.coordinator[:_MAX_LABEL]
            try:
                yield session, outlet
            finally:
                with self._lock:
                    self._session, self._coordinator = None, ""
                    serving.steps += session.steps
                    serving.rows += session.rows
        finally:
            self._free_slot()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep sessions out for a moment, to measure. Raises ``PipelineBusy`` during one."""
        with self._lock:
            if self._taken:
                raise PipelineBusy(
                    f"this node computes for {self._coordinator or 'another coordinator'} and "
                    "cannot be measured meanwhile: wait for that to finish, or end it there"
                )
            self._taken = True
        try:
            yield
        finally:
            self._free_slot()

    @contextlib.contextmanager
    def results(self, request: pb.CollectResultsRequest) -> Iterator[ResultSink]:
        """Receive the results of a session that is about to begin."""
        wire.check_wire_version(request.wire_version, "the coordinator")
        if self._served(request.epoch).assignment.following:
            raise NodeError("results are collected from the last stage, and this is not it")
        sink = ResultSink()
        with self._lock:
            if request.session in self._sinks or len(self._sinks) == _MAX_SINKS:
                raise NodeError("too many coordinators collect results here already")
            self._sinks[request.session] = sink
        try:
            yield sink
        finally:
            with self._lock:
                del self._sinks[request.session]

    def status(self) -> pb.StageStatus | None:
        """What is served now, or None."""
        with self._lock:
            if self._serving is None:
                return None
            assignment, loaded = self._serving.assignment, self._serving.loaded
            layers = pb.LayerRange(start=assignment.layers.start, stop=assignment.layers.stop)
            return pb.StageStatus(
                epoch=assignment.epoch,
                store_digest=assignment.manifest.digest,
                layers=layers,
                sequences=loaded.stage.sequences,
                weight_bytes=loaded.weight_bytes,
                cache_bytes=loaded.stage.cache_bytes,
                steps=self._serving.steps + (self._session.steps if self._session else 0),
                coordinator=self._coordinator,
                rows=self._serving.rows + (self._session.rows if self._session else 0),
            )

    def try_next(self) -> str:
        """Why the node that follows in the pipeline cannot be called; empty if it can."""
        with self._lock:
            following = self._serving.assignment.following if self._serving else None
        if following is None:
            return ""
        # A firewall lets the call itself wait for longer than whoever asks would.
        if error := why_not(*split_address(following.address), settings.EXPLAIN_TIMEOUT_S):
            return error
        try:
            with NodeClient(following, self._dialer) as client:
                client.describe(settings.EXPLAIN_TIMEOUT_S)
        except ClusterError as refused:
            return str(refused)[:_MAX_REASON]
        return ""

    def _serve(self, assignment: Assignment) -> LoadedStage:
        loaded = self._load(assignment.manifest, assignment.layers, assignment.limits)
        with self._lock:
            self._serving = _Serving(assignment, loaded)
        manifest, layers = assignment.manifest, assignment.layers
        self._vault.serve(file.sha256 for file in manifest.stage_files(layers.start, layers.stop))
        if self._last:
            self._last.keep(assignment)
        log.info("epoch %d: serving layers %s", assignment.epoch, layers)
        return loaded

    @contextlib.contextmanager
    def _replacing(self, epoch: int) -> Iterator[None]:
        """End the session and drop the stage, then let the caller put another in its place."""
        with self._lock:
            if self._serving and epoch < self._serving.assignment.epoch:
                raise StaleEpoch(
                    f"epoch {self._serving.assignment.epoch} is served here, of a later `up` than "
                    f"epoch {epoch}"
                )
        self.end_session(StaleEpoch("the pipeline was replaced by another `up`"))
        with self._changed:
            if not self._changed.wait_for(lambda: not self._taken, settings.STEP_PATIENCE_S):
                raise NodeError("a step has been running for too long; restart this worker")
            self._taken = True
            self._serving = None
        try:
            if self._last:
                # Before loading: a stage that ends the process must not do so at every start.
                self._last.forget()
            yield
        finally:
            self._free_slot()

    def _take_turn(self) -> None:
        """Take the slot for a session: a free one, or that of a session which rests."""
        with self._changed:
            if self._changed.wait_for(self._free_or_yielded, settings.BUSY_WAIT_S) and (
                self._changed.wait_for(lambda: not self._taken, settings.BUSY_WAIT_S)
            ):
                self._taken = True
                return
            holder = self._coordinator or "another coordinator"
        raise PipelineBusy(
            f"the pipeline is answering {holder}: wait for it to finish, or end it there"
        )

    def _free_or_yielded(self) -> bool:
        return not self._taken or (self._session is not None and self._session.give_way())

    def _free_slot(self) -> None:
        with self._changed:
            self._taken = False
            self._changed.notify_all()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _served(self, epoch: int) -> _Serving:
        with self._lock:
            serving = self._serving
        if serving is None:
            raise StaleEpoch("no stage is loaded here")
        if serving.assignment.epoch != epoch:
            raise StaleEpoch(
                f"epoch {serving.assignment.epoch} is served here, not {epoch}: the pipeline was "
                "replaced by another `up`, or one that did not come to its end"
            )
        return serving

    def _outlet(self, assignment: Assignment, header: pb.SessionHeader, session: Session) -> Outlet:
        if assignment.following:
            return NextHop(assignment.following, self._dialer, header, session.fail)
        with self._lock:
            sink = self._sinks.get(header.session)
        if sink is None:
            raise NodeError("nobody collects the results of this session")
        sink.attach(session.fail)
        return sink

"""What a worker serves: at most one stage, and at most one session through it."""

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pi_cluster.cluster import settings
from pi_cluster.cluster.errors import (
    AccessError,
    ClusterError,
    NodeError,
    PipelineBusy,
    ShardDamaged,
    StaleEpoch,
    StoreError,
)
from pi_cluster.cluster.layer_range import LayerRange
from pi_cluster.cluster.store.manifest import Manifest, ShardFile
from pi_cluster.cluster.trust.identity import Identity, Role
from pi_cluster.cluster.wire.addresses import as_seen_from
from pi_cluster.cluster.wire.client import NodeClient
from pi_cluster.cluster.wire.dialing import Dialer
from pi_cluster.cluster.wire.interfaces import own_interfaces
from pi_cluster.cluster.wire.options import check_wire_version
from pi_cluster.kernels import KernelsError
from pi_cluster.protos import pi_cluster_pb2 as pb
from pi_cluster.transformer.errors import ModelError
from pi_cluster.transformer.limits import Limits
from pi_cluster.worker.allocator import return_free_pages
from pi_cluster.worker.machine.reach import reach
from pi_cluster.worker.shards.damaged import DamagedShard
from pi_cluster.worker.shards.vault import ShardVault
from pi_cluster.worker.stage.assignment import Assignment
from pi_cluster.worker.stage.last_assignment import LastAssignment
from pi_cluster.worker.stage.loading import LoadedStage
from pi_cluster.worker.stage.outlet import NextHop, Outlet, ResultSink
from pi_cluster.worker.stage.session import StageSession

log = logging.getLogger(__name__)

_MAX_SINKS = 16  # one session runs; the others wait their turn. No caller may call oftener
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
    files: tuple[ShardFile, ...]
    """That it maps."""
    steps: int = 0
    rows: int = 0


@dataclass(frozen=True, slots=True)
class _Withdrawn:
    """What should be served, and cannot be for want of a shard."""

    assignment: Assignment
    files: tuple[ShardFile, ...]
    reason: str


def _files(assignment: Assignment) -> tuple[ShardFile, ...]:
    layers = assignment.layers
    return tuple(assignment.manifest.stage_files(layers.start, layers.stop))


@dataclass(frozen=True, slots=True)
class _Running:
    """The session that has the stage."""

    name: str
    coordinator: str
    session: StageSession
    outlet: Outlet


class StageHost:
    """Holds the stage, and lets sessions through one at a time.

    The slot is taken by whoever uses the stage, a session or its replacement; ``_lock`` guards
    the fields for moments only, and ``_changed`` tells those who wait for the slot.
    """

    def __init__(
        self,
        vault: ShardVault,
        load: Load,
        dialer: Dialer,
        last: LastAssignment | None = None,
        name: str = "this node",
    ) -> None:
        """``last`` keeps what is served for the next start; None forgets it. ``name`` is ours."""
        self._name = name
        self._vault = vault
        self._last = last
        self._dialer = dialer
        self._load = load
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._taken = False
        self._serving: _Serving | None = None
        self._withdrawn: _Withdrawn | None = None
        self._running: _Running | None = None
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

        For want of a shard it is withdrawn, and loaded once that has come (:meth:`restore`). Shards
        of other stores stay: they may be those of the next one, broken off on their way.
        """
        assignment = self._last.read() if self._last else None
        if assignment is None:
            return
        try:
            with self._replacing(assignment.epoch):
                self._serve(assignment)
        except StoreError as error:
            log.warning("a shard of the stage from before is not fit, starting empty: %s", error)
            with self._lock:
                self._withdrawn = _Withdrawn(
                    assignment, _files(assignment), f"{self._name}: {error}"
                )
            if self._last:
                self._last.keep(assignment)
        except (ClusterError, ModelError, KernelsError, OSError) as error:
            log.warning("the stage from before cannot be loaded, starting empty: %s", error)
        return_free_pages()

    @property
    def files(self) -> tuple[ShardFile, ...]:
        """The shards that the stage maps, or would: the same object until another one is loaded."""
        with self._lock:
            known = self._serving or self._withdrawn
            return known.files if known else ()

    @property
    def withdrawn(self) -> Assignment | None:
        """What should be served, and cannot be for want of a shard."""
        with self._lock:
            return self._withdrawn.assignment if self._withdrawn else None

    @property
    def problem(self) -> str:
        """Why the stage that should be served is not; empty otherwise."""
        with self._lock:
            return self._withdrawn.reason if self._withdrawn else ""

    @property
    def shard_names(self) -> dict[str, str]:
        """What the store that is or should be served calls its shards, by digest."""
        with self._lock:
            known = self._serving or self._withdrawn
            return {f.sha256: f.name for f in known.assignment.manifest.files} if known else {}

    def withdraw(self, damaged: DamagedShard) -> None:
        """Let go of the stage if it maps a shard that was set aside; nothing computes on it then.

        The running session ends with the reason, and those that would follow are refused with it.
        """
        with self._lock:
            serving = self._serving
            if serving is None:
                return
            if damaged.digest not in {file.sha256 for file in serving.files}:
                return
            reason = (
                f"{damaged.label} on {self._name} is damaged, it {damaged.problem}: "
                "the next `up` sends it again"
            )
            self._withdrawn = _Withdrawn(serving.assignment, serving.files, reason)
            self._serving = None
            if self._running:
                self._running.session.fail(ShardDamaged(reason))
        log.error("epoch %d: %s", serving.assignment.epoch, reason)

    def restore(self, assignment: Assignment) -> bool:
        """Serve what was withdrawn, now that its shards are here; whether it still was to be.

        Raises ``StoreError`` when they are not.
        """
        with self._changed:
            self._await_slot()
        try:
            if self.withdrawn is not assignment:
                return False
            self._serve(assignment)
        finally:
            self._free_slot()
        return True

    def unload(self, epoch: int) -> None:
        """Let go of the stage unless a newer epoch is served."""
        with self._replacing(epoch):
            self._vault.serve(())
        log.info("epoch %d: unloaded", epoch)

    def end_session(self, error: ClusterError) -> None:
        """End the running session, if there is one, with an error."""
        with self._lock:
            if self._running:
                self._running.session.fail(error)

    def ping(self, name: str) -> pb.PingReply:
        """Somebody asks after a session: it is kept, and how what follows it has been heard."""
        with self._lock:
            running = self._running
        if running is None or running.name != name:
            return pb.PingReply()
        running.session.heard()
        return pb.PingReply(next_silent_ms=int(running.outlet.silent_s * 1000))

    @contextlib.contextmanager
    def session(
        self, header: pb.SessionHeader, caller: Identity | None = None
    ) -> Iterator[tuple[StageSession, Outlet]]:
        """Take the pipeline for one coordinator.

        One that rests gives way. Raises ``PipelineBusy`` when another one holds it, ``StaleEpoch``
        when ``header`` belongs to a pipeline that is no longer served, ``AccessError`` when the
        caller's certificate (None without any) is not that of whoever comes before this stage.
        """
        check_wire_version(header.wire_version, "the hop before")
        if caller is not None:
            _check_place(caller, self._served(header.epoch).assignment)
        self._take_turn()
        try:
            serving = self._served(header.epoch)
            session = StageSession(serving.loaded.stage, self._wake, header.asked_after)
            outlet = self._outlet(serving.assignment, header, session)
            coordinator = header.coordinator[:_MAX_LABEL]
            with self._lock:
                if self._serving is not serving:  # withdrawn since
                    session.fail(self._nothing_served(header.epoch))
                self._running = _Running(header.session, coordinator, session, outlet)
            try:
                yield session, outlet
            finally:
                with self._lock:
                    self._running = None
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
                    f"this node computes for {self._holder} and cannot be measured "
                    "meanwhile: wait for that to finish, or end it there"
                )
            self._taken = True
        try:
            yield
        finally:
            self._free_slot()

    @contextlib.contextmanager
    def results(self, request: pb.CollectResultsRequest) -> Iterator[ResultSink]:
        """Receive the results of a session that is about to begin."""
        check_wire_version(request.wire_version, "the coordinator")
        if self._served(request.epoch).assignment.following:
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

    def status(self) -> pb.StageStatus | None:
        """What is served now, or None."""
        with self._lock:
            if self._serving is None:
                return None
            assignment, loaded = self._serving.assignment, self._serving.loaded
            layers = pb.LayerRange(start=assignment.layers.start, stop=assignment.layers.stop)
            running = self._running
            return pb.StageStatus(
                epoch=assignment.epoch,
                store_digest=assignment.manifest.digest,
                layers=layers,
                sequences=loaded.stage.sequences,
                weight_bytes=loaded.weight_bytes,
                cache_bytes=loaded.stage.cache_bytes,
                steps=self._serving.steps + (running.session.steps if running else 0),
                coordinator=running.coordinator if running else "",
                verified_ago_s=self._vault.verified_ago_s(
                    file.sha256 for file in self._serving.files
                ),
                rows=self._serving.rows + (running.session.rows if running else 0),
            )

    def try_next(self) -> str:
        """Why the node that follows in the pipeline cannot be called; empty if it can."""
        with self._lock:
            following = self._serving.assignment.following if self._serving else None
        if following is None:
            return ""
        # Where the last session found it, if it has moved since the stage was loaded.
        following = self._dialer.found(as_seen_from(following, own_interfaces()))
        # A firewall lets the call itself wait for longer than whoever asks would.
        reasons = reach(following.addresses, settings.EXPLAIN_TIMEOUT_S)
        if all(reasons):
            return reasons[0]
        try:
            with NodeClient(following, self._dialer) as client:
                client.describe(settings.EXPLAIN_TIMEOUT_S)
        except ClusterError as refused:
            return str(refused)[:_MAX_REASON]
        return ""

    def _serve(self, assignment: Assignment) -> LoadedStage:
        loaded = self._load(assignment.manifest, assignment.layers, assignment.limits)
        files = _files(assignment)
        with self._lock:
            self._vault.check_sound(files)  # it may have been found damaged while it was loaded
            self._serving, self._withdrawn = _Serving(assignment, loaded, files), None
        self._vault.serve(file.sha256 for file in files)
        if self._last:
            self._last.keep(assignment)
        log.info("epoch %d: serving layers %s", assignment.epoch, assignment.layers)
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
            self._await_slot()
            self._serving = self._withdrawn = None
        try:
            if self._last:
                # Before loading: a stage that ends the process must not do so at every start.
                self._last.forget()
            yield
        finally:
            self._free_slot()

    def _await_slot(self) -> None:
        """Take the slot to replace the stage, once a session that was ended has let go of it."""
        if not self._changed.wait_for(lambda: not self._taken, settings.STEP_PATIENCE_S):
            raise NodeError("a step has been running for too long; restart this worker")
        self._taken = True

    def _take_turn(self) -> None:
        """Take the slot for a session: a free one, or that of a session which rests."""
        with self._changed:
            if self._changed.wait_for(self._free_or_yielded, settings.BUSY_WAIT_S) and (
                self._changed.wait_for(lambda: not self._taken, settings.BUSY_WAIT_S)
            ):
                self._taken = True
                return
            holder = self._holder
        raise PipelineBusy(f"the pipeline is answering {holder}")

    def _free_or_yielded(self) -> bool:
        return not self._taken or (self._running is not None and self._running.session.give_way())

    @property
    def _holder(self) -> str:
        return (self._running and self._running.coordinator) or "another coordinator"

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
                raise self._nothing_served(epoch)
        if serving.assignment.epoch != epoch:
            raise StaleEpoch(
                f"epoch {serving.assignment.epoch} is served here, not {epoch}: the pipeline was "
                "replaced by another `up`, or one that did not come to its end"
            )
        return serving

    def _nothing_served(self, epoch: int) -> ClusterError:
        if self._withdrawn and self._withdrawn.assignment.epoch == epoch:
            return ShardDamaged(self._withdrawn.reason)
        return StaleEpoch("no stage is loaded here")

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
            raise NodeError("nobody collects the results of this session")
        sink.attach(session.fail)
        return sink

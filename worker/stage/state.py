"""What a worker's stage is at this moment, and who uses it; under the one lock that guards both."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pi_cluster.cluster import settings
from pi_cluster.cluster.errors import (
    ClusterError,
    NodeError,
    PipelineBusy,
    ShardDamaged,
    StaleEpoch,
)
from pi_cluster.cluster.store.manifest import ShardFile
from pi_cluster.worker.stage.assignment import Assignment
from pi_cluster.worker.stage.loading import LoadedStage
from pi_cluster.worker.stage.outlet import Outlet
from pi_cluster.worker.stage.session import StageSession


@dataclass(slots=True)
class Loaded:
    """A stage that sessions can pass through, and what the finished ones did there."""

    assignment: Assignment
    stage: LoadedStage
    files: tuple[ShardFile, ...]
    """That it maps."""
    steps: int = 0
    rows: int = 0


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """What should be served, and cannot be for want of a shard."""

    assignment: Assignment
    files: tuple[ShardFile, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class RunningSession:
    """The session that has the stage."""

    name: str
    coordinator: str
    session: StageSession
    outlet: Outlet


@dataclass(frozen=True, slots=True)
class Glance:
    """A loaded stage at one moment, with the session that runs counted in."""

    loaded: Loaded
    coordinator: str
    """Whose session runs; empty without one."""
    steps: int
    rows: int


class StageState:
    """The two things that change: what is loaded, and who has taken the slot to use it.

    What is loaded::

        nothing ---load---> loaded ---a shard is damaged---> withdrawn
           ^                  | ^                             | |
           |                  | +-----------mended------------+ |
           +---replaced or unloaded, by `up` or `down`----------+

    A replacement takes out what is there before it loads, so *loading* is nothing under a slot that
    is taken; when that fails, nothing stays. A start that lacks a shard ends withdrawn. *Mending*
    is what `Mender` does while the state is withdrawn, until it takes the slot to load.

    Who has the slot::

        free ---> a session, which computes or rests ---> free
        free ---> a replacement or a mended stage ---> free
        free ---> a measurement ---> free

    A session that rests gives way to another, and any gives way to a replacement; nobody else does.

    Invariants: only who has the slot loads, so a session has one stage from beginning to end.
    Withdrawal alone does not wait for the slot: it ends the session, which lets go by itself. A
    session runs only while it has the slot.

    ``_lock`` guards all fields, for moments only: nothing is loaded, computed or called under it.
    ``_changed`` tells those who wait for the slot.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._content: Loaded | Withdrawn | None = None
        self._is_taken = False
        self._running: RunningSession | None = None

    @property
    def content(self) -> Loaded | Withdrawn | None:
        """What is loaded, or should be."""
        with self._lock:
            return self._content

    @property
    def running(self) -> RunningSession | None:
        """The session that has the stage."""
        with self._lock:
            return self._running

    def glance(self) -> Glance | None:
        """The loaded stage and its session at one moment; None when none is loaded."""
        with self._lock:
            loaded, running = self._content, self._running
            if not isinstance(loaded, Loaded):
                return None
            return Glance(
                loaded,
                coordinator=running.coordinator if running else "",
                steps=loaded.steps + (running.session.steps if running else 0),
                rows=loaded.rows + (running.session.rows if running else 0),
            )

    def loaded(self, epoch: int) -> Loaded:
        """The stage of an epoch. Raises ``StaleEpoch``, ``ShardDamaged`` when it is withdrawn."""
        with self._lock:
            loaded = self._content
            if not isinstance(loaded, Loaded):
                raise self._not_loaded(epoch)
        if loaded.assignment.epoch != epoch:
            raise StaleEpoch(
                f"epoch {loaded.assignment.epoch} is served here, not {epoch}: the pipeline was "
                "replaced by another `up`, or one that did not come to its end"
            )
        return loaded

    @contextlib.contextmanager
    def replacing(self, epoch: int, wanted: Assignment | None = None) -> Iterator[None]:
        """End the session and take out what is loaded; the block may put another in its place.

        Raises ``StaleEpoch`` when a later epoch is loaded, or when that of ``wanted`` is with
        another assignment: two machines that mend a pipeline at once may choose the same number,
        and their stages must not mix.
        """
        with self._lock:
            self._check_not_later(epoch, wanted)
        self.end_session(StaleEpoch("the pipeline was replaced by another `up`"))
        with self._changed:
            self._await_slot()
        try:
            with self._lock:
                self._check_not_later(epoch, wanted)  # somebody may have been faster
                self._content = None
            yield
        finally:
            self._free_slot()

    def put(self, loaded: Loaded, check: Callable[[tuple[ShardFile, ...]], None]) -> None:
        """Serve a stage from now on, unless ``check`` of its files raises. For who has the slot.

        The check is made under the lock: damage is found before it, or finds the stage loaded.
        """
        with self._lock:
            check(loaded.files)
            self._content = loaded

    def lack(self, withdrawn: Withdrawn) -> None:
        """Know what should be loaded, and cannot be. For a start, before anybody takes the slot."""
        with self._lock:
            self._content = withdrawn

    def withdraw(self, digest: str, reason: str) -> Assignment | None:
        """Let go of the loaded stage if it maps a shard; returns which one that was.

        The running session ends with the reason, and those that would follow are refused with it.
        """
        with self._lock:
            loaded = self._content
            if not isinstance(loaded, Loaded):
                return None
            if digest not in {file.sha256 for file in loaded.files}:
                return None
            self._content = Withdrawn(loaded.assignment, loaded.files, reason)
            if self._running:
                self._running.session.fail(ShardDamaged(reason))
            return loaded.assignment

    @contextlib.contextmanager
    def mending(self, assignment: Assignment) -> Iterator[bool]:
        """Take the slot to load what was withdrawn; tells whether it still is."""
        with self._changed:
            self._await_slot()
        try:
            content = self.content
            yield isinstance(content, Withdrawn) and content.assignment is assignment
        finally:
            self._free_slot()

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Take the slot for a session: a free one, or that of a session which rests.

        Raises ``PipelineBusy`` when neither is to be had.
        """
        self._take_turn()
        try:
            yield
        finally:
            self._free_slot()

    @contextlib.contextmanager
    def passing(self, running: RunningSession, loaded: Loaded) -> Iterator[None]:
        """A session runs through a stage within. For who has the slot."""
        with self._lock:
            if self._content is not loaded:  # withdrawn since
                running.session.fail(self._not_loaded(loaded.assignment.epoch))
            self._running = running
        try:
            yield
        finally:
            with self._lock:
                self._running = None
                loaded.steps += running.session.steps
                loaded.rows += running.session.rows

    def end_session(self, error: ClusterError) -> None:
        """End the running session, if there is one, with an error."""
        with self._lock:
            if self._running:
                self._running.session.fail(error)

    def rested(self) -> None:
        """A session has begun to rest: whoever waits for its slot looks again."""
        with self._changed:
            self._changed.notify_all()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep sessions out for a moment, to measure. Raises ``PipelineBusy`` during one."""
        with self._lock:
            if self._is_taken:
                raise PipelineBusy(
                    f"this node computes for {self._holder} and cannot be measured "
                    "meanwhile: wait for that to finish, or end it there"
                )
            self._is_taken = True
        try:
            yield
        finally:
            self._free_slot()

    def _check_not_later(self, epoch: int, wanted: Assignment | None) -> None:
        loaded = self._content
        if not isinstance(loaded, Loaded):
            return
        if epoch < loaded.assignment.epoch:
            raise StaleEpoch(
                f"epoch {loaded.assignment.epoch} is served here, of a later `up` than "
                f"epoch {epoch}"
            )
        if wanted and epoch == loaded.assignment.epoch and wanted != loaded.assignment:
            raise StaleEpoch(f"epoch {epoch} is served here already, of another `up`")

    def _await_slot(self) -> None:
        """Take the slot to load a stage, once a session that was ended has let go of it."""
        if not self._changed.wait_for(lambda: not self._is_taken, settings.STEP_PATIENCE_S):
            raise NodeError("a step has been running for too long; restart this worker")
        self._is_taken = True

    def _take_turn(self) -> None:
        with self._changed:
            if self._changed.wait_for(self._free_or_yielded, settings.BUSY_WAIT_S) and (
                self._changed.wait_for(lambda: not self._is_taken, settings.BUSY_WAIT_S)
            ):
                self._is_taken = True
                return
            holder = self._holder
        raise PipelineBusy(f"the pipeline is answering {holder}")

    def _free_or_yielded(self) -> bool:
        return not self._is_taken or (
            self._running is not None and self._running.session.give_way()
        )

    def _free_slot(self) -> None:
        with self._changed:
            self._is_taken = False
            self._changed.notify_all()

    @property
    def _holder(self) -> str:
        return (self._running and self._running.coordinator) or "another coordinator"

    def _not_loaded(self, epoch: int) -> ClusterError:
        known = self._content
        if isinstance(known, Withdrawn) and known.assignment.epoch == epoch:
            return ShardDamaged(known.reason)
        return StaleEpoch("no stage is loaded here")

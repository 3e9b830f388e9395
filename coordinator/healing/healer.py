"""Mends a pipeline whose session was lost: looks, has it decided what to do, does it, looks again.

One healer serves all questions of a program. Each loss is mended on a thread of its own, for which
they wait as they like (`Healing`). Programs beside it are kept out by the lock of the record.
"""

import functools
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from pi_cluster.cluster import settings
from pi_cluster.cluster.errors import (
    ClusterError,
    NodeLost,
    NodeStuck,
    PipelineClosed,
    SessionExpired,
    ShardDamaged,
    StaleEpoch,
)
from pi_cluster.cluster.log_fields import LogFields
from pi_cluster.cluster.wire.dialing import Dialer
from pi_cluster.cluster.wire.peer import Peer
from pi_cluster.coordinator.healing.acting import Acting
from pi_cluster.coordinator.healing.decision import Case, Remedy, StageSeen, missing, remedy
from pi_cluster.coordinator.healing.following import Courtesy, Later, remember
from pi_cluster.coordinator.healing.looking import Look, look
from pi_cluster.coordinator.healing.losses import MOST_LOSSES, Losses
from pi_cluster.coordinator.healing.permission import dialer_to_load
from pi_cluster.coordinator.healing.told_pipeline import followed
from pi_cluster.coordinator.records.events import EventKind, EventLog
from pi_cluster.coordinator.records.pipeline_record import PipelineRecord, load_record
from pi_cluster.coordinator.trouble import Healing, Trouble, kind_of, listed

log = logging.getLogger(__name__)

_LOOK_AGAIN_S = 0.5


class Healer:
    """Mends one cluster's pipeline for one program, from any thread."""

    def __init__(
        self,
        cluster: str,
        digest: str,
        dialer: Dialer,
        on_notice: Callable[[str], None],
        timeout_s: float = settings.HEAL_TIMEOUT_S,
        on_healed: Callable[[Trouble], None] = lambda _: None,
        on_given_up: Callable[[], None] = lambda: None,
    ) -> None:
        """``digest`` is that of the store whose pipeline is mended, and of no other.

        After ``timeout_s`` a loss is given up; with 0 it never is mended. ``on_healed`` and
        ``on_given_up`` are told of each end, on any thread.
        """
        self.timeout_s = timeout_s
        self._cluster = cluster
        self._digest = digest
        self._dialer = dialer
        self._on_notice = on_notice
        self._on_healed, self._on_given_up = on_healed, on_given_up
        self._events = EventLog(cluster)
        self._losses = Losses()
        self._without: dict[str, Peer] = {}
        self._courtesy = Courtesy()
        self._lock = threading.Lock()  # of the trouble and of who mends it
        self._trouble: Trouble | None = None
        self._healing: Healing | None = None
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()

    def mends(self, loss: ClusterError) -> bool:
        """Whether something is done about such a loss."""
        is_ours = isinstance(loss, NodeLost | ShardDamaged) and not isinstance(loss, SessionExpired)
        return self.timeout_s > 0 and is_ours

    @property
    def under_way(self) -> Healing | None:
        """What is being mended now."""
        healing = self._healing
        return None if healing is None or healing.has_ended else healing

    def mend(self, loss: ClusterError, record: PipelineRecord) -> Healing:
        """Begin to mend what was lost, or join whoever does so already."""
        with self._lock:
            if self._closing.is_set():
                raise PipelineClosed("this program has let go of the pipeline: connect to it again")
            if healing := self.under_way:
                return healing
            trouble = self._trouble = self._known(loss, record)
            healing = self._healing = Healing(trouble)
            work = functools.partial(self._run, healing, record)
            self._thread = threading.Thread(target=work, name="healing", daemon=True)
            self._thread.start()
            return healing

    def served(self) -> Trouble | None:
        """A step has come back: the trouble is over. Returns which one that was, if any."""
        with self._lock:
            trouble, self._trouble = self._trouble, None
        if trouble is None:
            return None
        self._on_notice(trouble.ended)
        nodes, seconds = list(trouble.names), round(trouble.lost_s, 3)
        about = {"cause": kind_of(trouble.loss), "nodes": nodes, "seconds": seconds}
        self._events.note(EventKind.HEALED, trouble.ended, about)
        self._on_healed(trouble)
        return trouble

    def absent(self) -> list[Peer]:
        """Nodes that were done without, except those that come and go."""
        aside = self._losses.set_aside(time.monotonic())
        return [peer for node_id, peer in self._without.items() if node_id not in aside]

    def close(self) -> None:
        """Mend nothing any more."""
        with self._lock:
            self._closing.set()
            thread = self._thread
        if thread:
            thread.join()

    def _known(self, loss: ClusterError, record: PipelineRecord) -> Trouble:
        """The trouble that a loss belongs to: it may be the next one before a step came back."""
        ids = loss.node_ids if isinstance(loss, NodeLost) else ()
        names = {s.node_id: s.name for s in record.addresses if s.node_id in ids}
        trouble = self._trouble
        if trouble is None:
            silent_s = loss.awaited_s if isinstance(loss, NodeLost) else 0.0
            trouble = Trouble(loss, tuple(names.values()), silent_s=silent_s)
        elif new := [name for name in names.values() if name not in trouble.names]:
            trouble.names = (*trouble.names, *new)
        now = time.monotonic()
        for node_id, name in names.items():
            self._events.note(EventKind.NODE_LOST, str(loss), {"node": name})
            is_stuck = isinstance(loss, NodeStuck)  # it answers as if it were well
            if self._losses.note(node_id, now, MOST_LOSSES if is_stuck else 1):
                why = "got stuck" if is_stuck else "was lost again and again"
                said = f"{name} {why}: others do its work for a while"
                self._events.note(EventKind.NODE_SET_ASIDE, said, {"node": name})
        return trouble

    def _run(self, healing: Healing, record: PipelineRecord) -> None:
        try:
            self._mend(healing, record)
            healing.end()
        except ClusterError as failure:
            self._give_up(healing, failure)
        except BaseException as failure:
            self._give_up(healing, NodeLost(f"healing failed: {failure!r}"))
            raise

    def _give_up(self, healing: Healing, failure: ClusterError) -> None:
        with self._lock:
            self._trouble = None
        if not isinstance(failure, PipelineClosed):  # then nobody wants it healed any more
            self._events.note(EventKind.HEAL_FAILED, f"{healing.trouble.what}: {failure}")
            self._on_given_up()
        healing.end(failure)

    def _mend(self, healing: Healing, lost: PipelineRecord) -> None:
        trouble = healing.trouble
        acting = Acting(self._cluster, dialer_to_load(self._cluster, lost))
        while not self._closing.is_set():
            record = load_record(self._cluster)
            if record.epoch != lost.epoch or record.manifest.digest != self._digest:
                return  # somebody else has seen to it
            if self._step(healing, record, acting):
                return
            if trouble.waited_s > self.timeout_s:
                raise NodeLost(
                    f"{trouble.what}, and {self.timeout_s:g} s have passed in vain: {trouble.loss}",
                    trouble.loss.node_ids if isinstance(trouble.loss, NodeLost) else (),
                    awaited_s=trouble.lost_s,
                )
            self._closing.wait(_LOOK_AGAIN_S)
        raise PipelineClosed("this program has let go of the pipeline: connect to it again")

    def _step(self, healing: Healing, record: PipelineRecord, acting: Acting) -> bool:
        """Look once, and do what helps; whether the question may be asked again."""
        trouble = healing.trouble
        seen = look(record, acting.spares(record), self._dialer)
        check_not_replaced(record, seen)
        if newer := followed(record, seen.nodes.values()):
            trouble.done = "another machine has mended it, going on"
            return remember(newer) is Later.FOUND
        if self._courtesy.leaves(record, seen.nodes.values()):
            healing.said = f"{trouble.what}: another machine is mending it"
            return False
        case = self._case(trouble, record, seen, acting)
        todo, gone = remedy(case), missing(case)
        healing.is_hopeless = todo is Remedy.WAIT and case.alternative is None
        healing.said = self._said(trouble, case, todo)
        try:
            self._carry_out(todo, trouble, record, seen, acting, gone)
        except ClusterError as failure:
            about = LogFields(epoch=record.epoch)
            log.info("could not %s: %s", todo.value, failure, extra=about)
            healing.said = f"{trouble.what}: {failure}"
            return False
        return todo is not Remedy.WAIT

    def _case(self, trouble: Trouble, record: PipelineRecord, seen: Look, acting: Acting) -> Case:
        case = Case(
            *(seen.stages, trouble.lost_s, trouble.lost_sessions, acting.may_load),
            self._losses.set_aside(time.monotonic()),
        )
        if not (gone := missing(case)):
            return case
        without = acting.alternative(record, seen, {stage.node_id for stage in gone})
        return replace(case, alternative=without)

    def _carry_out(
        self,
        todo: Remedy,
        trouble: Trouble,
        record: PipelineRecord,
        seen: Look,
        acting: Acting,
        gone: Sequence[StageSeen],
    ) -> None:
        match todo:
            case Remedy.ASK_AGAIN:
                trouble.lost_sessions += 1
                trouble.done = "it is back, going on" if trouble.names else "going on"
            case Remedy.LOAD_AGAIN:
                acting.load_again(record, seen)
                trouble.lost_sessions, trouble.done = 0, "loaded again, going on"
            case Remedy.PLAN_AGAIN:
                lost = {stage.node_id for stage in gone}
                self._without |= {s.node_id: s.peer for s in record.addresses if s.node_id in lost}
                names = acting.plan_again(record, seen, lost)
                trouble.names = trouble.names or tuple(stage.name for stage in gone)
                trouble.lost_sessions, trouble.done = 0, f"going on with {listed(names)}"

    def _said(self, trouble: Trouble, case: Case, todo: Remedy) -> str:
        match todo:
            case Remedy.ASK_AGAIN:
                return f"{trouble.what}: asking again"
            case Remedy.LOAD_AGAIN:
                return f"{trouble.what}: loading its stages again"
            case Remedy.PLAN_AGAIN:
                return f"{trouble.what}: bringing its layers to others"
        if case.alternative or not case.may_load:
            return f"{trouble.what}: waiting for it"
        return (
            f"{trouble.what}, and the others have no room for its layers: waiting up to "
            f"{self.timeout_s:g} s for it"
        )


def check_not_replaced(record: PipelineRecord, seen: Look) -> None:
    """Raise ``StaleEpoch`` where nodes of the pipeline serve another model meanwhile."""
    for node in seen.nodes.values():
        served = node.about.stage
        if served.epoch > record.epoch and served.store_digest != record.manifest.digest:
            raise StaleEpoch(
                f"{node.about.name} serves another model since: another `up` has replaced the "
                "pipeline"
            )

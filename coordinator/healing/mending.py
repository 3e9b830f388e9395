"""One loss on its way to being mended: a look, a decision, an act, and again, until it is over."""

import logging
import threading
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from pi_cluster.cluster.errors import ClusterError, NodeLost, PipelineClosed, StaleEpoch
from pi_cluster.cluster.log_fields import LogFields
from pi_cluster.cluster.wire.dialing import Dialer
from pi_cluster.coordinator.healing.acting import Acting
from pi_cluster.coordinator.healing.decision import Case, Remedy, StageSeen, missing, remedy
from pi_cluster.coordinator.healing.following import Courtesy, Later, remember
from pi_cluster.coordinator.healing.looking import Look, look
from pi_cluster.coordinator.healing.losses import Losses
from pi_cluster.coordinator.healing.permission import dialer_to_load
from pi_cluster.coordinator.healing.told_pipeline import followed
from pi_cluster.coordinator.records.kept_record import load_record
from pi_cluster.coordinator.records.pipeline_record import PipelineRecord
from pi_cluster.coordinator.silent import OWN_NETWORK
from pi_cluster.coordinator.trouble import Healing, listed

log = logging.getLogger(__name__)

_LOOK_AGAIN_S = 0.5


@dataclass(frozen=True, slots=True)
class Means:
    """What all mendings of a program share."""

    cluster: str
    digest: str
    """Of the store whose pipeline is mended, and of no other."""
    dialer: Dialer
    timeout_s: float
    losses: Losses
    courtesy: Courtesy = field(default_factory=Courtesy)


class Mending:
    """Mends one loss, on a thread of its own; `healing` tells those who wait how far it is."""

    def __init__(self, healing: Healing, means: Means, closing: threading.Event) -> None:
        """``closing`` ends it early."""
        self._healing, self._trouble = healing, healing.trouble
        self._means = means
        self._closing = closing
        self._is_alone, self._alone_until_s = False, 0.0

    def run(self, lost: PipelineRecord) -> None:
        """Return once the question may be asked again. Raises why it was given up."""
        means, trouble = self._means, self._trouble
        acting = Acting(means.cluster, dialer_to_load(means.cluster, lost), self._closing)
        while not self._closing.is_set():
            record = load_record(means.cluster)
            if record.epoch != lost.epoch or record.manifest.digest != means.digest:
                return  # somebody else has seen to it
            if self._step(record, acting):
                return
            if trouble.waited_s > means.timeout_s:
                raise NodeLost(
                    trouble.in_vain(means.timeout_s),
                    trouble.loss.node_ids if isinstance(trouble.loss, NodeLost) else (),
                    awaited_s=trouble.lost_s,
                )
            self._closing.wait(_LOOK_AGAIN_S)
        raise PipelineClosed("this program has let go of the pipeline: connect to it again")

    def _step(self, record: PipelineRecord, acting: Acting) -> bool:
        """Look once, and do what helps; whether the question may be asked again."""
        healing, trouble = self._healing, self._trouble
        seen = look(record, acting.spares(record), self._means.dialer)
        _check_not_replaced(record, seen)
        if newer := followed(record, seen.nodes.values()):
            trouble.done = "another machine has mended it, going on"
            return remember(newer) is Later.FOUND
        if self._means.courtesy.leaves(record, seen.nodes.values(), acting.broken_off):
            healing.said = f"{trouble.what}: another machine is mending it"
            return False
        case = self._case(record, seen, acting)
        todo, gone = remedy(case), missing(case)
        healing.is_hopeless = todo is Remedy.WAIT and case.alternative is None
        healing.said = f"{trouble.what}{self._said(case, todo, acting)}"
        try:
            self._carry_out(todo, record, seen, acting, gone)
        except ClusterError as failure:
            about = LogFields(epoch=record.epoch)
            log.info("could not %s: %s", todo.value, failure, extra=about)
            healing.said = f"{trouble.what}: {failure}"
            return False
        return todo is not Remedy.WAIT

    def _case(self, record: PipelineRecord, seen: Look, acting: Acting) -> Case:
        """What to decide by. Where nobody can stand in for who comes and goes, that one counts."""
        trouble = self._trouble
        aside = self._means.losses.set_aside(time.monotonic())
        lost_s = self._lost_s(seen)
        case = Case(seen.stages, lost_s, trouble.lost_sessions, acting.may_load, aside)
        while gone := missing(case):
            without = acting.alternative(record, seen, {stage.node_id for stage in gone})
            if without or not case.set_aside:
                return replace(case, alternative=without)
            case = replace(case, set_aside=())
        return case

    def _lost_s(self, seen: Look) -> float:
        """Since the last sign of whoever is missing, or since nobody answered: that was ourselves.

        Back on the network we hear of one after the other, and the last has as long as any.
        """
        now = time.monotonic()
        if self._is_alone:
            self._alone_until_s = now
        self._is_alone = not seen.nodes
        return min(self._trouble.lost_s, now - self._alone_until_s)

    def _carry_out(
        self,
        todo: Remedy,
        record: PipelineRecord,
        seen: Look,
        acting: Acting,
        gone: Sequence[StageSeen],
    ) -> None:
        trouble = self._trouble
        match todo:
            case Remedy.ASK_AGAIN:
                trouble.lost_sessions += 1
                trouble.done = f"{trouble.back}going on"
            case Remedy.LOAD_AGAIN:
                acting.load_again(record, seen)
                trouble.lost_sessions, trouble.done = 0, "loaded again, going on"
            case Remedy.PLAN_AGAIN:
                lost = {stage.node_id: stage.name for stage in gone}
                names = acting.plan_again(record, seen, lost)
                trouble.names = trouble.names or tuple(lost.values())
                trouble.lost_sessions, trouble.done = 0, f"going on with {listed(names)}"

    def _said(self, case: Case, todo: Remedy, acting: Acting) -> str:
        them, layers = _in_words(missing(case), self._trouble.names)
        match todo:
            case Remedy.ASK_AGAIN:
                return ": asking again"
            case Remedy.LOAD_AGAIN:
                return ": loading its stages again"
            case Remedy.PLAN_AGAIN:
                return f": bringing {layers} to others"
        if case.alternative or not case.may_load:
            return f": waiting for {them}"
        waiting = f"waiting up to {self._means.timeout_s:g} s for {them}"
        if not self._trouble.names and not any(stage.answers for stage in case.stages):
            waiting = f"{waiting}; {OWN_NETWORK}"
        return f", and {acting.obstacle.format(layers=layers)}: {waiting}"


def _in_words(gone: Sequence[StageSeen], lost: Collection[str]) -> tuple[str, str]:
    """Those who are missing, and their layers, in a sentence that begins with the ``lost``."""
    names = [stage.name for stage in gone]
    if names and set(names) != set(lost):
        return listed(names), f"the layers of {listed(names)}"
    return ("them", "their layers") if len(names) > 1 else ("it", "its layers")


def _check_not_replaced(record: PipelineRecord, seen: Look) -> None:
    """Raise ``StaleEpoch`` where nodes of the pipeline serve another model meanwhile."""
    for node in seen.nodes.values():
        served = node.about.stage
        if served.epoch > record.epoch and served.store_digest != record.manifest.digest:
            raise StaleEpoch(
                f"{node.about.name} serves another model since: another `up` has replaced the "
                "pipeline"
            )

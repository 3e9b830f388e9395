"""Nodes that are back, or new, taken in while nobody asks, if that is worth the trouble."""

import logging
import threading
from collections.abc import Callable

from pi_cluster.cluster import settings
from pi_cluster.cluster.errors import ClusterError, NodeLost
from pi_cluster.cluster.who_am_i import who_am_i
from pi_cluster.cluster.wire.dialing import Dialer
from pi_cluster.coordinator.healing.acting import Quiet
from pi_cluster.coordinator.healing.healer import Healer
from pi_cluster.coordinator.healing.looking import Look, look
from pi_cluster.coordinator.healing.permission import dialer_to_load, may_send
from pi_cluster.coordinator.healing.topping_up import ToppingUp
from pi_cluster.coordinator.healing.way import as_it_was
from pi_cluster.coordinator.pipeline.measuring import Planner
from pi_cluster.coordinator.pipeline.rollout import (
    Rollout,
    load_stages,
    next_epoch,
    recorded,
    unload_left_out,
)
from pi_cluster.coordinator.pipeline.transfer import hand_out_shards
from pi_cluster.coordinator.planning.footprint import model_footprint
from pi_cluster.coordinator.planning.objective import Objective
from pi_cluster.coordinator.planning.prediction import Prediction
from pi_cluster.coordinator.planning.standby import still_standing_by
from pi_cluster.coordinator.records.events import EventKind, EventLog
from pi_cluster.coordinator.records.kept_record import load_record, replace_record, replacing
from pi_cluster.coordinator.records.known_nodes import known_nodes
from pi_cluster.coordinator.records.pipeline_record import PipelineRecord
from pi_cluster.coordinator.trouble import listed
from pi_cluster.transformer.config_form import read_config

log = logging.getLogger(__name__)

LEAST_GAIN = 1.10  # measured speeds are noisy, and caches are lost with each change
_LOOK_EVERY_S = 20.0
_POLL_S = 0.1


def is_worth_it(new: Prediction, old: Prediction, objective: Objective) -> bool:
    """Whether one plan is predicted to be so much faster than another that layers should move.

    By what plans for the objective are made by: the next token of one user, or the slowest stage.
    """
    if objective is Objective.LATENCY:
        return new.decode_tps > LEAST_GAIN * old.decode_tps
    return max(old.stage_s) > LEAST_GAIN * max(new.stage_s)


class TakingIn:
    """Looks for such nodes from `begin` to `close`, on a thread of its own.

    It also mends what is lost while nobody asks, so that the next question need not wait for that,
    and makes copies that a loss has cost.
    """

    def __init__(
        self, lasting: PipelineRecord, healer: Healer, is_idle: Callable[[], bool]
    ) -> None:
        """For the pipeline that serves the store of ``lasting``, whatever its epoch."""
        self._cluster, self._digest = lasting.folder.name, lasting.manifest.digest
        self._healer = healer
        self._is_idle = is_idle
        self._events = EventLog(self._cluster)
        self._topping_up = ToppingUp(self._cluster)
        self._judged: frozenset[str] = frozenset()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="taking-in", daemon=True)

    def begin(self) -> None:
        """Look from now on."""
        self._thread.start()

    def close(self) -> None:
        """Look no more. Stages that are being loaded are; shards under way go no further."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(settings.CALL_TIMEOUT_S)

    def once(self) -> bool:
        """Look now; whether the pipeline has become another one."""
        record = load_record(self._cluster)
        dialer = dialer_to_load(self._cluster, record)
        if dialer is None or record.manifest.digest != self._digest or self._healer.under_way:
            return False
        aside = self._healer.set_aside()
        spares = [peer for peer in known_nodes(self._cluster) if peer.node_id not in aside]
        seen = look(record, spares, dialer)
        if not all(stage.answers and stage.is_loaded for stage in seen.stages):
            return self._mend(record, seen)
        return self._take_in(record, seen, dialer) or self._topping_up.once(record, seen, dialer)

    def _run(self) -> None:
        while not self._closing.wait(_LOOK_EVERY_S):
            try:
                if self._is_idle():
                    self.once()
            except ClusterError as error:
                log.info("no node was taken in: %s", error)

    def _mend(self, record: PipelineRecord, seen: Look) -> bool:
        lost = [stage for stage in seen.stages if not stage.answers]
        names = ", ".join(stage.name for stage in lost) or "a stage"
        loss = NodeLost(f"{names} was lost while nobody asked", [one.node_id for one in lost])
        healing = self._healer.mend(loss, record)
        while not healing.has_ended and not self._closing.wait(_POLL_S):
            pass
        if not healing.has_ended:  # this ends, and the healing with it
            return False
        healing.check()
        self._healer.served()
        return True

    def _take_in(self, record: PipelineRecord, seen: Look, dialer: Dialer) -> bool:
        """Plan over all that are there, unless that was found not to be worth it before."""
        if _asked_by_others(seen):
            return False
        present = frozenset(seen.nodes)
        used = {stage.node_id for stage in record.addresses}
        if present <= used or present == self._judged:
            return False
        footprint = model_footprint(
            record.manifest, read_config(record.manifest.config), record.limits
        )
        placed = record.draft.placed if record.draft else None
        planner = Planner(footprint, list(seen.nodes.values()), dialer, draft=placed)
        better = planner.plan(record.objective)
        now = planner.prediction(as_it_was(record).plan)
        self._judged = present
        if not is_worth_it(better.prediction, now, record.objective):
            return False
        store = record.open_store() if may_send(self._cluster) else None
        rollout = Rollout(
            *(record.manifest, store, record.limits, record.objective),
            *(better.plan, better.prediction, dict(seen.nodes), dialer),
            still_standing_by(record.copies, better.plan, record.manifest.n_layers),
        )
        return self._bring_up(record, rollout, now)

    def _bring_up(self, record: PipelineRecord, rollout: Rollout, now: Prediction) -> bool:
        """Shards first, while the pipeline serves on; then, if still nobody asks, the change."""
        hand_out_shards(rollout, Quiet(), self._closing)
        if not self._is_idle() or _asked_by_others(look(record, [], rollout.dialer)):
            self._judged = frozenset()  # once more, when it is idle
            return False
        with replacing(record):
            epoch = next_epoch(rollout, record)
            load_stages(rollout, epoch)
            new = recorded(rollout, epoch, record.folder, record.insecure, record.call)
            replace_record(new.in_place_of(record))
            for warning in unload_left_out(rollout, record):
                log.info("%s", warning)
        before = {stage.node_id for stage in record.addresses}
        names = [stage.name for stage in new.addresses if stage.node_id not in before]
        predicted = f"its slowest stage takes {_ms(rollout.prediction)} a token, not {_ms(now)}"
        said = f"the pipeline takes in {listed(names)}" if names else "the layers are shared anew"
        self._events.note(EventKind.TAKEN_IN, f"{said}: {predicted}", {"nodes": names})
        return True


def _asked_by_others(seen: Look) -> bool:
    """Whether another program has the pipeline, which would lose its caches."""
    holders = {node.about.stage.coordinator for node in seen.nodes.values()}
    return not holders <= {"", who_am_i()}


def _ms(prediction: Prediction) -> str:
    return f"{max(prediction.stage_s) * 1000:.3g} ms"

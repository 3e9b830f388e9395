"""Copies made again while nobody asks: after a loss some layers lie on one disk less."""

import logging
from dataclasses import replace

from pi_cluster.cluster.errors import StateError
from pi_cluster.cluster.wire.dialing import Dialer
from pi_cluster.coordinator.healing.acting import Quiet
from pi_cluster.coordinator.healing.looking import Look
from pi_cluster.coordinator.healing.permission import may_send
from pi_cluster.coordinator.healing.way import as_it_was
from pi_cluster.coordinator.pipeline.rollout import Rollout
from pi_cluster.coordinator.pipeline.standing_by import place_on_nodes
from pi_cluster.coordinator.pipeline.transfer import hand_out_copies
from pi_cluster.coordinator.records.events import EventKind, EventLog
from pi_cluster.coordinator.records.kept_record import changing, load_record, replace_record
from pi_cluster.coordinator.records.pipeline_record import PipelineRecord
from pi_cluster.coordinator.trouble import listed

log = logging.getLogger(__name__)


class ToppingUp:
    """Brings copies to where there is room for them, once for each pipeline and nodes there."""

    def __init__(self, cluster: str) -> None:
        self._cluster = cluster
        self._events = EventLog(cluster)
        self._tried: object = None

    def once(self, record: PipelineRecord, seen: Look, dialer: Dialer) -> bool:
        """Make what copies are missing of a pipeline that is well; whether there are more now."""
        case = (record.epoch, frozenset(seen.nodes))
        if not record.lacking_copies or case == self._tried:
            return False
        nodes, plan = list(seen.nodes.values()), as_it_was(record).plan
        placed = place_on_nodes(
            *(record.manifest, record.limits, plan, record.replicas), *(nodes, dialer)
        )
        self._tried = case
        if not _has_more(replace(record, copies=placed), record):
            return False  # there is no room for them
        store = record.open_store() if may_send(self._cluster) else None
        rollout = Rollout(
            *(record.manifest, store, record.limits, record.objective, plan, record.prediction),
            *(dict(seen.nodes), dialer, placed),
        )
        _, failures = hand_out_copies(rollout, Quiet())
        for node_id, failure in failures.items():
            log.info("%s keeps no copies: %s", seen.nodes[node_id].label, failure)
        made = [one for one in placed if one.node_id not in failures]
        made += [one for one in record.copies if one.node_id in failures]
        after = replace(record, copies=tuple(made))
        return _has_more(after, record) and self._remember(after)

    def _remember(self, record: PipelineRecord) -> bool:
        try:
            with changing(self._cluster):
                if load_record(self._cluster).epoch != record.epoch:
                    return False
                replace_record(record)
        except StateError as error:  # another program is at it
            self._tried = None
            log.info("copies were made that no record tells of yet: %s", error)
            return False
        names = [one.name for one in record.copies]
        lacking = len(record.lacking_copies)
        left = f"; {lacking} shards still lie on fewer than {record.replicas} disks"
        said = f"copies stand by again on {listed(names)}{left if lacking else ''}"
        self._events.note(EventKind.COPIES_MADE, said, {"nodes": names})
        return True


def _has_more(record: PipelineRecord, before: PipelineRecord) -> bool:
    return len(record.lacking_copies) < len(before.lacking_copies)

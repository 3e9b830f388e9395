"""What healing does to the nodes: stages loaded again, or planned and handed out anew."""

import logging
import threading
from collections.abc import Collection

from pi_cluster.cluster.errors import (
    NodeError,
    NodeLost,
    PipelineClosed,
    PlanError,
    StoreError,
)
from pi_cluster.cluster.store.store import Store
from pi_cluster.cluster.wire.dialing import Dialer
from pi_cluster.cluster.wire.peer import Peer
from pi_cluster.coordinator.healing.decision import Alternative
from pi_cluster.coordinator.healing.looking import Look
from pi_cluster.coordinator.healing.permission import may_send
from pi_cluster.coordinator.healing.way import Way, as_it_was, way_without
from pi_cluster.coordinator.pipeline.rollout import Rollout, load_stages, next_epoch, recorded
from pi_cluster.coordinator.pipeline.transfer import hand_out_shards
from pi_cluster.coordinator.planning.standby import still_standing_by
from pi_cluster.coordinator.records.kept_record import replace_record, replacing
from pi_cluster.coordinator.records.known_nodes import known_nodes
from pi_cluster.coordinator.records.pipeline_record import PipelineRecord

log = logging.getLogger(__name__)

_NO_ROOM = "the others have no room for {layers}"
_NOWHERE_ELSE = "{layers} are neither on the others nor here"
_NOBODY = "no other node answers"


class Acting:
    """Acts for one trouble. What it has learned is kept for the next look, where it still holds."""

    def __init__(
        self, cluster: str, dialer: Dialer | None, closing: threading.Event | None = None
    ) -> None:
        """``dialer`` calls as somebody who may load stages; None where this user may not.

        Once ``closing`` is set nothing is loaded any more.
        """
        self._cluster = cluster
        self._dialer = dialer
        self._closing = closing or threading.Event()
        self._known: dict[object, Way | str] = {}
        self.obstacle = _NO_ROOM
        """Why there is no alternative, where there is none; it may have a place for ``layers``."""
        self.broken_off: set[int] = set()
        """Epochs that a node was lost in while its stage was loaded."""

    @property
    def may_load(self) -> bool:
        """Whether this user may do more than ask again and wait."""
        return self._dialer is not None

    def spares(self, record: PipelineRecord) -> list[Peer]:
        """Nodes without a stage that were met before, for who may load."""
        if not self.may_load:
            return []
        used = {stage.node_id for stage in record.addresses}
        return [peer for peer in known_nodes(self._cluster) if peer.node_id not in used]

    def alternative(
        self, record: PipelineRecord, seen: Look, gone: Collection[str]
    ) -> Alternative | None:
        """What it takes to go on without the nodes of these ids; None where that cannot be."""
        way = self._way(record, seen, gone)
        return Alternative(way.moved_bytes) if way else None

    def load_again(self, record: PipelineRecord, seen: Look) -> None:
        """The same stages in a new epoch, each told where the next one is now."""
        self._bring_up(record, seen, as_it_was(record))

    def plan_again(self, record: PipelineRecord, seen: Look, gone: Collection[str]) -> list[str]:
        """Go on without the nodes of these ids; returns the names of those that have stages now."""
        way = self._way(record, seen, gone)
        assert way, "there is an alternative"
        self._bring_up(record, seen, way)
        return [seen.nodes[stage.node_id].about.name for stage in way.plan.stages]

    def _bring_up(self, record: PipelineRecord, seen: Look, way: Way) -> None:
        assert self._dialer, "who may not load is not told to"
        rollout = Rollout(
            *(record.manifest, self._store(record), record.limits, record.objective),
            *(way.plan, way.prediction, dict(seen.nodes), self._dialer),
            still_standing_by(record.copies, way.plan, record.manifest.n_layers),
        )
        with replacing(record):
            hand_out_shards(rollout, Quiet(), self._closing)
            if self._closing.is_set():  # shards may have taken minutes
                raise PipelineClosed("this program has let go of the pipeline: connect to it again")
            epoch = next_epoch(rollout, record)
            try:
                load_stages(rollout, epoch)
            except NodeLost:
                self.broken_off.add(epoch)  # no other machine was in the way
                raise
            new = recorded(rollout, epoch, record.folder, record.insecure, record.call)
            replace_record(new.in_place_of(record))

    def _store(self, record: PipelineRecord) -> Store | None:
        """What nodes lack comes from here, if it is here and this user may send it."""
        return record.open_store() if may_send(self._cluster) else None

    def _way(self, record: PipelineRecord, seen: Look, gone: Collection[str]) -> Way | None:
        """The plan without some nodes, or why there is none, kept for when the same are there."""
        if self._dialer is None:
            return None
        left = {node_id: node for node_id, node in seen.nodes.items() if node_id not in gone}
        if not left:
            self.obstacle = _NOBODY
            return None
        key = (record.epoch, frozenset(left))
        if key not in self._known:
            try:
                has_store = self._store(record) is not None
                way = way_without(record, list(left.values()), self._dialer, has_store)
                self._known[key] = way
            except NodeError as error:  # who answered the look has gone since, or is busy
                log.info("not known yet how to go on without %s: %s", ", ".join(gone), error)
                return None
            except (PlanError, StoreError) as error:
                log.info("no going on without %s: %s", ", ".join(gone), error)
                self._known[key] = _NOWHERE_ELSE if isinstance(error, StoreError) else _NO_ROOM
        known = self._known[key]
        if isinstance(known, Way):
            return known
        self.obstacle = known
        return None


class Quiet:
    """Nobody looks at how the shards travel."""

    def begin(self, node: Peer, received_bytes: int, total_bytes: int) -> None:
        log.info("%s lacks %d of %d bytes", node.label, total_bytes - received_bytes, total_bytes)

    def update(self, node: Peer, received_bytes: int) -> None:
        pass

    def end(self, node: Peer) -> None:
        log.info("%s has its shards", node.label)

"""How a pipeline can go on: a plan for the nodes that are there, and what it takes."""

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pi_cluster.cluster.errors import AccessError, PlanError, StoreError
from pi_cluster.cluster.speed import NodeProfile
from pi_cluster.cluster.store.manifest import Manifest
from pi_cluster.cluster.wire.attended import attended
from pi_cluster.cluster.wire.client import NodeClient
from pi_cluster.cluster.wire.dialing import Dialer
from pi_cluster.coordinator.pipeline.measuring import capacities, measure_reach
from pi_cluster.coordinator.pipeline.nodes import Node
from pi_cluster.coordinator.planning.draft_placing import beside
from pi_cluster.coordinator.planning.footprint import model_footprint
from pi_cluster.coordinator.planning.healing_plan import EMBEDDING, moved_bytes, plan_again
from pi_cluster.coordinator.planning.plan import NodeCapacity, Plan, PlannedStage
from pi_cluster.coordinator.planning.prediction import Prediction, predict
from pi_cluster.coordinator.planning.standby import layer_files
from pi_cluster.coordinator.records.pipeline_record import PipelineRecord
from pi_cluster.transformer.config_form import read_config

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Way:
    """A plan for who is left."""

    plan: Plan
    prediction: Prediction
    moved_bytes: int


def as_it_was(record: PipelineRecord) -> Way:
    """The plan that a pipeline was brought up by."""
    stages = tuple(
        PlannedStage(one.where.node_id, one.where.layers, one.weight_bytes, one.memory_bytes)
        for one in record.stages
    )
    return Way(Plan(stages, record.unused), record.prediction, moved_bytes=0)


def way_without(
    record: PipelineRecord, nodes: Sequence[Node], dialer: Dialer, has_store: bool
) -> Way:
    """Plan over ``nodes``; ``has_store`` says whether what all of them lack comes from here.

    Raises ``PlanError`` where they have no room, ``StoreError`` where layers lie nowhere else.
    """
    held = _held_by(record.manifest, nodes, dialer)
    nodes = [node for node in nodes if node.about.node_id in held]
    if not nodes:
        raise PlanError("no node answers")
    layers = range(EMBEDDING, record.manifest.n_layers + 1)
    if not has_store and not frozenset().union(*held.values()).issuperset(layers):
        raise StoreError("no node that is left has all layers on its disk")
    footprint = model_footprint(record.manifest, read_config(record.manifest.config), record.limits)
    known = known_capacities(nodes, dialer)
    if record.draft:
        known = beside(record.draft.placed, footprint, known)
    plan = plan_again(footprint, known, held, as_it_was(record).plan)
    by_id = {one.node_id: one for one in known}
    used = [by_id[stage.node_id] for stage in plan.stages]
    # Links between nodes take seconds to measure; those from here stand for them.
    links = [used[0].reach, *(one.reach for one in used)]
    size = moved_bytes(footprint, plan, held)
    return Way(plan, predict(footprint, plan, by_id, links), size)


def _held_by(
    manifest: Manifest, nodes: Sequence[Node], dialer: Dialer
) -> dict[str, frozenset[int]]:
    """What is on the disk of each, by node id, except those that take nothing from us."""
    held = {}
    for node in nodes:
        try:
            held[node.about.node_id] = held_layers(manifest, node, dialer)
        except AccessError as error:
            log.info("leaving out %s: %s", node.label, error)
    return held


def held_layers(manifest: Manifest, node: Node, dialer: Dialer) -> frozenset[int]:
    """The layers of a store on a node's disk, with embedding and head as in ``plan_again``."""
    with NodeClient(node.peer, dialer) as client:
        held = client.find_shards(manifest.files).held
    return frozenset(index for index, file in layer_files(manifest).items() if file.sha256 in held)


def known_capacities(nodes: Sequence[Node], dialer: Dialer) -> list[NodeCapacity]:
    """What nodes offer by what they measured before, and the links to them as they are now."""
    with ThreadPoolExecutor(len(nodes)) as pool:
        profiles = list(pool.map(lambda node: _profile(node, dialer), nodes))
    return capacities(nodes, profiles, measure_reach(nodes, dialer))


def _profile(node: Node, dialer: Dialer) -> NodeProfile:
    with attended(node.peer, dialer) as client:
        return client.measure_node()

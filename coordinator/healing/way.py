"""How a pipeline can go on: a plan for the nodes that are there, and what it takes."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pi_cluster.cluster.errors import PlanError
from pi_cluster.cluster.speed import NodeProfile
from pi_cluster.cluster.store.manifest import Manifest
from pi_cluster.cluster.wire.client import NodeClient
from pi_cluster.cluster.wire.dialing import Dialer
from pi_cluster.coordinator.pipeline.measuring import capacities, measure_reach
from pi_cluster.coordinator.pipeline.nodes import Node
from pi_cluster.coordinator.planning.footprint import model_footprint
from pi_cluster.coordinator.planning.healing_plan import moved_bytes, plan_again
from pi_cluster.coordinator.planning.plan import NodeCapacity, Plan, PlannedStage
from pi_cluster.coordinator.planning.prediction import Prediction, predict
from pi_cluster.coordinator.planning.standby import layer_files
from pi_cluster.coordinator.records.pipeline_record import PipelineRecord
from pi_cluster.transformer.config_form import read_config


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


def way_without(record: PipelineRecord, nodes: Sequence[Node], dialer: Dialer) -> Way:
    """Plan over ``nodes``. Raises ``PlanError`` where they have no room."""
    if not nodes:
        raise PlanError("no node answers")
    footprint = model_footprint(record.manifest, read_config(record.manifest.config), record.limits)
    known = known_capacities(nodes, dialer)
    held = {node.about.node_id: held_layers(record.manifest, node, dialer) for node in nodes}
    plan = plan_again(footprint, known, held, as_it_was(record).plan)
    by_id = {one.node_id: one for one in known}
    used = [by_id[stage.node_id] for stage in plan.stages]
    # Links between nodes take seconds to measure; those from here stand for them.
    links = [used[0].reach, *(one.reach for one in used)]
    size = moved_bytes(footprint, plan, held)
    return Way(plan, predict(footprint, plan, by_id, links), size)


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
    with NodeClient(node.peer, dialer) as client:
        return client.measure_node()

"""A plan: which node holds which layers. Pure functions of figures, no network.

:mod:`throughput_plan` plans for many users, :mod:`latency_plan` for one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pi_cluster.cluster.layer_range import LayerRange
from pi_cluster.cluster.speed import Link, Speed
from pi_cluster.coordinator.planning.costs import ModelFootprint

HEADROOM = 0.1  # of a node's free memory is left to its system and to the page cache


@dataclass(frozen=True, slots=True)
class NodeCapacity:
    """What a node offers, as it was measured."""

    node_id: str
    name: str
    free_memory_bytes: int
    speed: Speed
    """Of the node while nothing else runs on its machine."""
    machine_id: str
    machine_speed: Speed
    """What all nodes of the machine reach together."""
    reach: Link
    """From the coordinator. Stands for the links to other nodes, which are not all measured."""

    @property
    def usable_bytes(self) -> int:
        """Memory that a plan may fill."""
        return int(self.free_memory_bytes * (1 - HEADROOM))


@dataclass(frozen=True, slots=True)
class PlannedStage:
    """One stage of a plan."""

    node_id: str
    layers: LayerRange
    weight_bytes: int
    memory_bytes: int
    """Weights, caches and activations together."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Stages in pipeline order, and the nodes that are better left out."""

    stages: tuple[PlannedStage, ...]
    unused: tuple[str, ...] = ()
    """Ids of nodes without a stage: too little memory, too slow, or more nodes than layers."""


Placed = Sequence[tuple[NodeCapacity, LayerRange]]
"""Nodes in pipeline order, each with its layers."""


def lay_out(footprint: ModelFootprint, nodes: Sequence[NodeCapacity], placed: Placed) -> Plan:
    """The plan that gives nodes these layers; those of ``nodes`` that get none are left out."""
    stages = tuple(
        PlannedStage(
            node.node_id, layers, footprint.weight_bytes(layers), footprint.memory_bytes(layers)
        )
        for node, layers in placed
    )
    taken = {stage.node_id for stage in stages}
    return Plan(stages, tuple(node.node_id for node in nodes if node.node_id not in taken))


def explain_misfit(footprint: ModelFootprint, nodes: Sequence[NodeCapacity]) -> str:
    """Why no plan is possible, with the figures of model and nodes."""
    layers = footprint.cost(footprint.all_layers)
    steps = len(nodes) * footprint.step_bytes
    lines = [
        f"the model does not fit: it needs {_gib(layers.weight_bytes)} for {footprint.n_layers} "
        f"layers, {_gib(footprint.embedding_bytes)} for the embedding on the first node, "
        f"{_gib(footprint.head_bytes)} for the head on the last, {_gib(layers.cache_bytes)} for "
        f"caches and {_gib(steps)} for steps; "
        f"{_gib(sum(n.usable_bytes for n in nodes))} are usable:"
    ]
    lines += [
        f"  {node.name}: {_gib(node.usable_bytes)} of {_gib(node.free_memory_bytes)} free"
        for node in nodes
    ]
    lines.append("add a node or memory, shard with fewer bits, or lower --context or --texts")
    return "\n".join(lines)


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"

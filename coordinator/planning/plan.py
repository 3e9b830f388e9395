"""The planner: which node holds which layers. Pure functions of figures, no network.

:func:`plan_layers` is for throughput; `latency_plan.py` plans for one user.
"""

import collections
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from pi_cluster.cluster.errors import PlanError
from pi_cluster.cluster.layer_range import LayerRange
from pi_cluster.cluster.speed import STEP_COST_S, Link, Speed

HEADROOM = 0.1  # of a node's free memory is left to its system and to the page cache
_CLEARLY_FASTER = 0.9  # measured speeds are noisy: a smaller gain is not worth another order
_MOST_NODES_TO_REORDER = 8  # trying every pair of ends costs the cube of the number of nodes


@dataclass(frozen=True, slots=True)
class ModelFootprint:
    """What a model asks of the nodes that hold it: bytes, and multiply-adds for one row."""

    n_layers: int
    layer_bytes: int
    """One layer's shard file."""
    embedding_bytes: int
    head_bytes: int
    cache_bytes_per_layer: int
    """What the caches of all sequences may hold at one layer."""
    step_bytes: int
    """Activations of the largest step."""
    layer_macs: int
    head_macs: int
    row_bytes: int
    """Hidden states of one row, as they travel."""

    def compute_s(self, speed: Speed, layers: int, rows: int, head_rows: int = 0) -> float:
        """Seconds that a stage computes on a step, the head for ``head_rows`` of its rows.

        The share of attention is left out: at 512 positions of Mistral 7B, a fiftieth of the
        multiply-adds.
        """
        time = speed.compute_s(layers * self.layer_bytes, layers * self.layer_macs, rows)
        if head_rows:
            time += speed.compute_s(self.head_bytes, self.head_macs, head_rows)
        return time


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


def plan_layers(footprint: ModelFootprint, nodes: Sequence[NodeCapacity]) -> Plan:
    """Share the layers out so that the slowest stage is as fast as can be.

    Nodes keep their order unless others at the two ends, which also hold the embedding and the
    head, make the pipeline clearly faster or are needed for it to fit. No stage is empty. Raises
    ``PlanError`` with the figures when no order fits.
    """
    if not nodes:
        raise PlanError("no nodes to plan for")
    nodes = _all_busy(nodes)
    best: tuple[float, list[NodeCapacity], list[int]] | None = None
    for order in _orders(nodes):
        counts = share_evenly(footprint, order)
        if counts is None:
            continue
        slowest = _slowest(footprint, order, counts)
        if best is None or slowest < _CLEARLY_FASTER * best[0]:
            best = slowest, order, counts
        if len(nodes) > _MOST_NODES_TO_REORDER:
            break
    if best is None:
        raise PlanError(explain_misfit(footprint, nodes))
    return lay_out(footprint, nodes, best[1], best[2])


def _all_busy(nodes: Sequence[NodeCapacity]) -> list[NodeCapacity]:
    """The nodes as fast as each is while all of them compute: those of one machine share it."""
    sharing = collections.Counter(node.machine_id for node in nodes)
    return [
        replace(node, speed=node.speed.at_most(node.machine_speed, sharing[node.machine_id]))
        for node in nodes
    ]


def _orders(nodes: Sequence[NodeCapacity]) -> Iterator[list[NodeCapacity]]:
    """The given order, then every choice of first and last: layers in between are all alike."""
    yield list(nodes)
    for first in nodes:
        for last in nodes:
            middle = [n for n in nodes if n is not first and n is not last]
            if first is not last:
                yield [first, *middle, last]
    for only in nodes:
        yield [only]


def share_evenly(footprint: ModelFootprint, order: list[NodeCapacity]) -> list[int] | None:
    """Layers for each node, at least one at both ends, or None when they do not fit.

    Each next layer goes to the node that would finish soonest with it, which makes the slowest
    stage as fast as possible because layers are alike.
    """
    counts = [0] * len(order)
    counts[0] = counts[-1] = 1
    spare = footprint.n_layers - sum(counts)
    if spare < 0 or any(
        stage_memory(footprint, order, counts, i) > order[i].usable_bytes
        for i in (0, len(order) - 1)
    ):
        return None
    for _ in range(spare):
        best, best_time = -1, float("inf")
        for index, node in enumerate(order):
            counts[index] += 1
            fits = stage_memory(footprint, order, counts, index) <= node.usable_bytes
            time = stage_time(footprint, order, counts, index)
            counts[index] -= 1
            if fits and time < best_time:
                best, best_time = index, time
        if best < 0:
            return None
        counts[best] += 1
    return counts


def _weights(
    footprint: ModelFootprint, order: Sequence[NodeCapacity], counts: Sequence[int], index: int
) -> int:
    size = counts[index] * footprint.layer_bytes
    if index == 0:
        size += footprint.embedding_bytes
    if index == len(order) - 1:
        size += footprint.head_bytes
    return size


def stage_memory(
    footprint: ModelFootprint, order: Sequence[NodeCapacity], counts: Sequence[int], index: int
) -> int:
    """Bytes that one stage of this sharing fills."""
    caches = counts[index] * footprint.cache_bytes_per_layer
    return _weights(footprint, order, counts, index) + caches + footprint.step_bytes


def stage_time(
    footprint: ModelFootprint, order: Sequence[NodeCapacity], counts: Sequence[int], index: int
) -> float:
    """Seconds of one stage for a step of one row, logits among them on the last stage."""
    if not counts[index]:
        return 0.0
    is_last = index == len(order) - 1
    speed = order[index].speed
    return STEP_COST_S + footprint.compute_s(speed, counts[index], 1, head_rows=int(is_last))


def _slowest(
    footprint: ModelFootprint, order: Sequence[NodeCapacity], counts: Sequence[int]
) -> float:
    return max(stage_time(footprint, order, counts, index) for index in range(len(order)))


def lay_out(
    footprint: ModelFootprint,
    nodes: Sequence[NodeCapacity],
    order: Sequence[NodeCapacity],
    counts: Sequence[int],
) -> Plan:
    """The plan that gives the nodes in ``order`` so many layers each."""
    stages, start = [], 0
    for index, (node, count) in enumerate(zip(order, counts, strict=True)):
        if count:
            stages.append(
                PlannedStage(
                    node.node_id,
                    LayerRange(start, start + count),
                    _weights(footprint, order, counts, index),
                    stage_memory(footprint, order, counts, index),
                )
            )
            start += count
    taken = {stage.node_id for stage in stages}
    unused = tuple(node.node_id for node in nodes if node.node_id not in taken)
    return Plan(tuple(stages), unused)


def explain_misfit(footprint: ModelFootprint, nodes: Sequence[NodeCapacity]) -> str:
    """Why no plan is possible, with the figures of model and nodes."""
    caches = footprint.n_layers * footprint.cache_bytes_per_layer
    steps = len(nodes) * footprint.step_bytes
    layers = footprint.n_layers * footprint.layer_bytes
    lines = [
        f"the model does not fit: it needs {_gib(layers)} for {footprint.n_layers} layers, "
        f"{_gib(footprint.embedding_bytes)} for the embedding on the first node, "
        f"{_gib(footprint.head_bytes)} for the head on the last, {_gib(caches)} for caches and "
        f"{_gib(steps)} for steps; {_gib(sum(n.usable_bytes for n in nodes))} are usable:"
    ]
    lines += [
        f"  {node.name}: {_gib(node.usable_bytes)} of {_gib(node.free_memory_bytes)} free"
        for node in nodes
    ]
    lines.append("add a node or memory, shard with fewer bits, or lower --context or --texts")
    return "\n".join(lines)


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"

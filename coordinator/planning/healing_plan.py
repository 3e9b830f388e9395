"""A plan for those who are left: what moves the fewest bytes, since an answer waits for it.

Unlike the plans of `up` it keeps the nodes in their order, so that each goes on with the layers
that it has and takes over those beside them.
"""

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence

from pi_cluster.cluster.errors import PlanError
from pi_cluster.cluster.layer_range import LayerRange
from pi_cluster.coordinator.planning.costs import ModelFootprint
from pi_cluster.coordinator.planning.plan import NodeCapacity, Plan, explain_misfit, lay_out

EMBEDDING = -1
"""Stands for the embedding among a node's layers, as the number of layers does for the head."""

_MOST_ORDERS = 32  # of nodes: with the first spare nodes, where there are many

_Cost = tuple[int, float]
"""Bytes that move, and seconds of the slowest stage for a step of one row."""
_Way = tuple[_Cost, tuple[int, ...]]
"""What it costs, and where the layers of each node end."""


def plan_again(
    footprint: ModelFootprint,
    nodes: Sequence[NodeCapacity],
    held: Mapping[str, Collection[int]],
    before: Plan,
) -> Plan:
    """The plan over ``nodes`` that moves the fewest bytes; of equals, whose slowest stage is
    fastest.

    ``held`` are the layers on each node's disk, by node id, with `EMBEDDING` and the number of
    layers for the head. Nodes that had a stage ``before`` keep their order; another one may come
    anywhere between them. Raises ``PlanError`` with the figures when nothing fits.
    """
    tables = {
        node.node_id: _Table(footprint, node, frozenset(held.get(node.node_id, ())))
        for node in nodes
    }
    ways = [
        (way, order)
        for order in itertools.islice(_orders(nodes, before), _MOST_ORDERS)
        if (way := _best(footprint.n_layers, [tables[node.node_id] for node in order]))
    ]
    if not ways:
        raise PlanError(explain_misfit(footprint, nodes))
    (_, stops), order = min(ways, key=lambda found: found[0][0])
    bounds = itertools.pairwise([0, *stops])
    pairs = [
        (n, LayerRange(*ends)) for n, ends in zip(order, bounds, strict=True) if ends[0] < ends[1]
    ]
    return lay_out(footprint, nodes, pairs)


def moved_bytes(footprint: ModelFootprint, plan: Plan, held: Mapping[str, Collection[int]]) -> int:
    """What nodes lack of the layers that a plan gives them."""
    total = 0
    for stage in plan.stages:
        there = held.get(stage.node_id, ())
        total += sum(
            footprint.layers[layer].weight_bytes
            for layer in range(stage.layers.start, stage.layers.stop)
            if layer not in there
        )
        if stage.layers.start == 0 and EMBEDDING not in there:
            total += footprint.embedding_bytes
        if footprint.has_head(stage.layers) and footprint.n_layers not in there:
            total += footprint.head_bytes
    return total


def _orders(nodes: Sequence[NodeCapacity], before: Plan) -> Iterator[list[NodeCapacity]]:
    """Those that had a stage in their order, alone and with each of the others at each place."""
    place = {stage.node_id: index for index, stage in enumerate(before.stages)}
    kept = sorted((n for n in nodes if n.node_id in place), key=lambda n: place[n.node_id])
    spares = [node for node in nodes if node.node_id not in place]
    yield kept
    for spare in spares:
        for index in range(len(kept) + 1):
            yield [*kept[:index], spare, *kept[index:]]
    if len(spares) > 1:
        yield [*kept, *spares]
        yield [*spares, *kept]


class _Table:
    """What any range of layers costs one node."""

    def __init__(self, footprint: ModelFootprint, node: NodeCapacity, held: frozenset[int]) -> None:
        self._footprint, self._node, self._held = footprint, node, held
        lacking = (
            0 if index in held else layer.weight_bytes
            for index, layer in enumerate(footprint.layers)
        )
        self._moved = list(itertools.accumulate(lacking, initial=0))  # of the first layers
        self._costs: dict[int, list[tuple[int, _Cost]]] = {}

    def costs(self, start: int) -> list[tuple[int, _Cost]]:
        """The ends of ranges that begin there and fit, and what each costs."""
        if start not in self._costs:  # orders ask for the same ones
            self._costs[start] = list(self._reckoned(start))
        return self._costs[start]

    def _reckoned(self, start: int) -> Iterator[tuple[int, _Cost]]:
        footprint, moved = self._footprint, self._moved
        for stop in range(start + 1, footprint.n_layers + 1):
            layers = LayerRange(start, stop)
            if footprint.memory_bytes(layers) > self._node.usable_bytes:
                continue
            size = moved[stop] - moved[start]
            if start == 0 and EMBEDDING not in self._held:
                size += footprint.embedding_bytes
            if footprint.has_head(layers) and footprint.n_layers not in self._held:
                size += footprint.head_bytes
            yield stop, (size, footprint.stage_s(self._node.speed, layers, rows=1, head_rows=1))


def _best(n_layers: int, row: Sequence[_Table]) -> _Way | None:
    """The cheapest way to split all layers over nodes in a row, some of which may get none."""
    ways: dict[int, _Way] = {0: ((0, 0.0), ())}
    for table in row:
        after: dict[int, _Way] = {}
        for start, (cost, stops) in ways.items():
            options = [(start, (0, 0.0)), *table.costs(start)]
            for stop, (size, seconds) in options:
                total = cost[0] + size, max(cost[1], seconds)
                known = after.get(stop)
                if known is None or total <= known[0]:
                    way = total, (*stops, stop)
                    after[stop] = way if known is None else min(known, way)
        ways = after
    return ways.get(n_layers)

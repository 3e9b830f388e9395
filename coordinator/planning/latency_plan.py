"""A plan for one user: every token passes all stages, so their sum counts, and the links' too."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pi_cluster.cluster.errors import PlanError
from pi_cluster.coordinator.planning.plan import (
    ModelFootprint,
    NodeCapacity,
    Plan,
    explain_misfit,
    lay_out,
    share_evenly,
    stage_memory,
    stage_time,
)

_MIDDLE, _FIRST, _LAST = 0, 1, 2  # places in a pipeline, as bits of a set
_BOTH_ENDS = _FIRST | _LAST
_GOOD_ENOUGH = 1.02  # speeds are measured no better
_CERTAINLY_LESS = 1 - 1e-9  # where sums of floats differ by rounding, the given order stands

Times = NDArray[np.float64]


def plan_for_one_user(footprint: ModelFootprint, nodes: Sequence[NodeCapacity]) -> Plan:
    """Choose nodes and layers so that a token takes the least time through all stages and links.

    A node costs its link and a step beside its layers, so slow nodes are left out unless their
    memory is needed. Among plans as good as the best, but for a fiftieth, one of a single stage
    comes first, then one of even stages, which prompts profit from. Raises ``PlanError`` with the
    figures when nothing fits.
    """
    if not nodes:
        raise PlanError("no nodes to plan for")
    choices = [_one_stage(footprint, node) for node in nodes] + [_several(footprint, nodes)]
    fitting = [choice for choice in choices if choice is not None]
    if not fitting:
        raise PlanError(explain_misfit(footprint, nodes))
    enough = _GOOD_ENOUGH * min(token_time(footprint, *choice) for choice in fitting)
    order, counts = next(c for c in fitting if token_time(footprint, *c) <= enough)
    even = share_evenly(footprint, order)
    if even and token_time(footprint, order, even) <= enough:
        counts = even
    return lay_out(footprint, nodes, order, counts)


def token_time(
    footprint: ModelFootprint, order: Sequence[NodeCapacity], counts: Sequence[int]
) -> float:
    """Seconds of one token through all stages, and for each stage a link's."""
    return sum(
        stage_time(footprint, order, counts, i) + node.reach.message_s(footprint.row_bytes)
        for i, node in enumerate(order)
        if counts[i]
    )


_Choice = tuple[list[NodeCapacity], list[int]]


def _one_stage(footprint: ModelFootprint, node: NodeCapacity) -> _Choice | None:
    counts = [footprint.n_layers]
    fits = stage_memory(footprint, [node], counts, 0) <= node.usable_bytes
    return ([node], counts) if fits else None


def _several(footprint: ModelFootprint, nodes: Sequence[NodeCapacity]) -> _Choice | None:
    """The best of all pipelines of at least two nodes, those in the middle in the given order.

    Dynamic programming over the nodes: ``best[ends, layers]`` is the least time with so many
    layers placed and these ends taken, and ``taken`` what the last node did in it.
    """
    best = np.full((4, footprint.n_layers + 1), np.inf)
    best[0, 0] = 0.0
    history: list[NDArray[np.int64]] = []
    for node in nodes:
        best, taken = _with_node(best, [_times(footprint, node, place) for place in range(3)])
        history.append(taken)
    if not np.isfinite(best[_BOTH_ENDS, -1]):
        return None
    return _trace(nodes, history, footprint.n_layers)


def _times(footprint: ModelFootprint, node: NodeCapacity, place: int) -> Times:
    """Seconds of a node with 0, 1, 2, ... layers at a place; infinite where they do not fit."""
    times = np.full(footprint.n_layers + 1, np.inf)
    index = {_FIRST: 0, _MIDDLE: 1, _LAST: 2}[place]
    order = [node, node, node]
    for layers in range(1, footprint.n_layers + 1):
        counts = [0, 0, 0]
        counts[index] = layers
        if stage_memory(footprint, order, counts, index) > node.usable_bytes:
            break
        times[layers] = token_time(footprint, order, counts)
    return times


def _with_node(best: Times, times: Sequence[Times]) -> tuple[Times, NDArray[np.int64]]:
    """Let one more node take some layers at some place, or none where that is no better.

    ``taken[ends, layers]`` is ``(place, layers of this node)``. Of equals the first stands, which
    keeps the given order: a node rather ends the pipeline than it lets an earlier one do so.
    """
    after = best.copy()
    taken = np.zeros((*best.shape, 2), np.int64)
    for place in (_LAST, _MIDDLE, _FIRST):
        for ends in range(4):
            if place & ends:
                continue
            for layers in np.flatnonzero(np.isfinite(times[place])):
                total = best[ends, : best.shape[1] - layers] + times[place][layers]
                state = after[ends | place, layers:]
                better = total < state * _CERTAINLY_LESS
                state[better] = total[better]
                taken[ends | place, layers:][better] = place, layers
    return after, taken


def _trace(
    nodes: Sequence[NodeCapacity], history: Sequence[NDArray[np.int64]], n_layers: int
) -> _Choice:
    """Follow what was taken back from the whole pipeline to none of it."""
    chosen: dict[int, list[tuple[NodeCapacity, int]]] = {_FIRST: [], _MIDDLE: [], _LAST: []}
    ends, left = _BOTH_ENDS, n_layers
    for node, taken in zip(reversed(nodes), reversed(history), strict=True):
        place, layers = (int(value) for value in taken[ends, left])
        if layers:
            chosen[place].insert(0, (node, layers))
            ends, left = ends & ~place, left - layers
    row = [*chosen[_FIRST], *chosen[_MIDDLE], *chosen[_LAST]]
    return [node for node, _ in row], [layers for _, layers in row]

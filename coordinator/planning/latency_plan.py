"""A plan for one user: every token passes all stages, so their sum counts, and the links' too."""

import math
from collections.abc import Sequence

import numpy as np

from pi_cluster.cluster.errors import PlanError
from pi_cluster.coordinator.planning.costs import ModelFootprint
from pi_cluster.coordinator.planning.ordering import orders
from pi_cluster.coordinator.planning.plan import (
    NodeCapacity,
    Placed,
    Plan,
    explain_misfit,
    lay_out,
)
from pi_cluster.coordinator.planning.splitting import (
    Ranges,
    Times,
    least,
    split_evenly,
    split_for_least_sum,
    stage_times,
)

_GOOD_ENOUGH = 1.02  # speeds are measured no better
_CERTAINLY_LESS = 1 - 1e-9  # where sums of floats differ by rounding, the given order stands


def plan_for_one_user(footprint: ModelFootprint, nodes: Sequence[NodeCapacity]) -> Plan:
    """Choose nodes and layers so that a token takes the least time through all stages and links.

    A node costs its link and a step beside its layers, so slow nodes are left out unless their
    memory is needed. Among plans as good as the best, but for a fiftieth, one of a single stage
    comes first, then one of even stages, which prompts profit from. Raises ``PlanError`` with the
    figures when nothing fits; of more than eight nodes those in the middle keep their order.
    """
    if not nodes:
        raise PlanError("no nodes to plan for")
    stages = [stage_times(footprint, node) for node in nodes]
    tables = [
        times + node.reach.message_s(footprint.row_bytes)
        for times, node in zip(stages, nodes, strict=True)
    ]
    choices = _choices(tables)
    if not choices:
        raise PlanError(explain_misfit(footprint, nodes))
    enough = _GOOD_ENOUGH * min(time for time, _ in choices)
    order = next(order for time, order in choices if time <= enough)
    ranges = split_for_least_sum([tables[i] for i in order])
    even = split_evenly([stages[i] for i in order])
    if even and token_time(footprint, _placed(nodes, order, even)) <= enough:
        ranges = even
    return lay_out(footprint, nodes, _placed(nodes, order, ranges))


def token_time(footprint: ModelFootprint, placed: Placed) -> float:
    """Seconds of one token through all stages, and for each stage a link's."""
    return sum(
        footprint.stage_s(node.speed, layers, rows=1, head_rows=1)
        + node.reach.message_s(footprint.row_bytes)
        for node, layers in placed
    )


def _placed(nodes: Sequence[NodeCapacity], order: Sequence[int], ranges: Ranges) -> Placed:
    return [(nodes[i], layers) for i, layers in zip(order, ranges, strict=True) if layers]


def _choices(tables: Sequence[Times]) -> list[tuple[float, list[int]]]:
    """Seconds of a token and an order: all nodes alone that have room, then the best of all."""
    alone = [(float(times[0, -1]), [i]) for i, times in enumerate(tables)]
    choices = [(time, order) for time, order in alone if math.isfinite(time)]
    best, chosen = math.inf, list[int]()
    for order in orders(tables, np.add):
        time = least([tables[i] for i in order], np.add)
        if time < best * _CERTAINLY_LESS:
            best, chosen = time, order
    return [*choices, (best, chosen)] if chosen else choices

"""A plan for many users or long prompts: steps follow each other, so the slowest stage counts."""

import collections
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pi_cluster.cluster.errors import PlanError
from pi_cluster.coordinator.planning.costs import ModelFootprint
from pi_cluster.coordinator.planning.ordering import orders
from pi_cluster.coordinator.planning.plan import NodeCapacity, Plan, explain_misfit, lay_out
from pi_cluster.coordinator.planning.splitting import Times, least, split_evenly, stage_times

_CLEARLY_FASTER = 0.9  # measured speeds are noisy: a smaller gain is not worth another order
_MOST_NODES_TO_REORDER = 32  # trying every pair of ends costs the cube of the number of nodes


def plan_layers(footprint: ModelFootprint, nodes: Sequence[NodeCapacity]) -> Plan:
    """Share the layers out so that the slowest stage is as fast as can be, then evenly.

    Nodes keep their order unless another makes the pipeline clearly faster or is needed for it to
    fit. No stage is empty. Raises ``PlanError`` with the figures when no order fits; of more than
    eight nodes those in the middle keep their order all the same.
    """
    if not nodes:
        raise PlanError("no nodes to plan for")
    nodes = _all_busy(nodes)
    tables = [stage_times(footprint, node) for node in nodes]
    order = _choose_order(tables)
    ranges = split_evenly([tables[i] for i in order]) if order else None
    if ranges is None:
        raise PlanError(explain_misfit(footprint, nodes))
    pairs = zip((nodes[i] for i in order), ranges, strict=True)
    return lay_out(footprint, nodes, [(node, layers) for node, layers in pairs if layers])


def _all_busy(nodes: Sequence[NodeCapacity]) -> list[NodeCapacity]:
    """The nodes as fast as each is while all of them compute: those of one machine share it."""
    sharing = collections.Counter(node.machine_id for node in nodes)
    return [
        replace(node, speed=node.speed.at_most(node.machine_speed, sharing[node.machine_id]))
        for node in nodes
    ]


def _choose_order(tables: Sequence[Times]) -> list[int]:
    """The first order that no later one is clearly faster than; empty where none fits."""
    best, chosen = math.inf, list[int]()
    for order in orders(tables, np.maximum):
        slowest = least([tables[i] for i in order], np.maximum)
        if slowest < _CLEARLY_FASTER * best:
            best, chosen = slowest, order
        if chosen and len(tables) > _MOST_NODES_TO_REORDER:
            break
    return chosen

"""The layers split over nodes in a row: each gets those that follow the ones of the node before.

Layers differ, so what a node takes depends on where it begins. All here is exact, by dynamic
programming over where the layers of one node end. The first and the last node of a row get at least
one layer; those between may get none.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pi_cluster.cluster.layer_range import LayerRange
from pi_cluster.coordinator.planning.costs import ModelFootprint
from pi_cluster.coordinator.planning.plan import NodeCapacity

Times = NDArray[np.float64]
"""Seconds of a node with layers ``start:stop``, at ``[start, stop]``; infinite if none or too many.

Shape: ``(n_layers + 1, n_layers + 1)``.
"""

Least = NDArray[np.float64]
"""The least that the layers up to each can take, by how many these are."""

Ranges = list[LayerRange | None]
"""What each node of a row gets."""

_Key = TypeVar("_Key")
_Way = tuple[_Key, tuple[int, ...]]
"""What comes of the times of some nodes, and where the layers of each end, negated."""


def stage_times(footprint: ModelFootprint, node: NodeCapacity) -> Times:
    """Seconds of a node for a step of one row, logits among them on the last stage."""
    n_layers = footprint.n_layers
    times = np.full((n_layers + 1, n_layers + 1), np.inf)
    for start, stop in itertools.combinations(range(n_layers + 1), 2):
        layers = LayerRange(start, stop)
        if footprint.memory_bytes(layers) <= node.usable_bytes:
            times[start, stop] = footprint.stage_s(node.speed, layers, rows=1, head_rows=1)
    return times


def least(row: Sequence[Times], combine: np.ufunc) -> float:
    """The least that all layers can take over a row of nodes, infinite if they do not fit.

    ``combine`` makes one of the times of all stages: ``np.add`` or ``np.maximum``.
    """
    if len(row) == 1:
        return float(row[0][0, -1])
    best = row[0][0]
    for times in row[1:-1]:
        best = np.minimum(best, with_one_more(best, times, combine))
    return float(combine(best, row[-1][:, -1]).min())


def with_one_more(best: Least, times: Times, combine: np.ufunc) -> Least:
    """``best`` of some nodes, with another one that takes at least a layer after them."""
    least_by_end: Least = combine(best[:, np.newaxis], times).min(axis=0)
    return least_by_end


def split_for_least_sum(row: Sequence[Times]) -> Ranges:
    """The ranges that take the least time together. They must fit."""
    return _split(row, 0.0, lambda total, time: total + time)


def split_evenly(row: Sequence[Times]) -> Ranges | None:
    """The ranges whose slowest stage is fastest, then the next slowest, and so on.

    Of equals, earlier nodes get more layers. None where the row cannot hold the layers.
    """
    slowest = least(row, np.maximum)
    if math.isinf(slowest):
        return None
    within = [np.where(times <= slowest, times, np.inf) for times in row]
    no_times: tuple[float, ...] = ()
    return _split(within, no_times, _in_order)


def _in_order(times: tuple[float, ...], time: float) -> tuple[float, ...]:
    return tuple(sorted((*times, time), reverse=True))


def _split(row: Sequence[Times], nothing: _Key, add: Callable[[_Key, float], _Key]) -> Ranges:
    """The ranges whose times, added up by ``add``, come first; of equals, those that have more
    layers at the front.
    """
    last = len(row) - 1
    ways: dict[int, _Way[_Key]] = {0: (nothing, ())}
    for index, times in enumerate(row):
        after: dict[int, _Way[_Key]] = {}
        for start, (key, ends) in ways.items():
            options = times[start].tolist()
            if 0 < index < last:
                options[start] = 0.0
            for stop, time in enumerate(options):
                if math.isinf(time) or (index == last and stop < len(times) - 1):
                    continue
                way = add(key, time), (*ends, -stop)
                if stop not in after or way < after[stop]:
                    after[stop] = way
        ways = after
    _, negated = ways[len(row[0]) - 1]
    bounds = itertools.pairwise([0, *(-end for end in negated)])
    return [LayerRange(start, stop) if start < stop else None for start, stop in bounds]

"""Orders of nodes that are worth a look, as indices of the given ones."""

from collections.abc import Iterator, Sequence

import numpy as np

from pi_cluster.coordinator.planning.splitting import Times, with_one_more

_MOST_NODES_IN_ANY_ORDER = 8  # the time doubles with each, and a half


def orders(tables: Sequence[Times], combine: np.ufunc) -> Iterator[list[int]]:
    """The given order, then every choice of first and last, then whatever order is best.

    Where layers are alike only the ends matter, which hold the embedding and the head. Where they
    differ, a node in the middle may have room for some of them and not for others. ``tables`` are
    the times of each node, ``combine`` as in :func:`splitting.least`.
    """
    every = range(len(tables))
    yield list(every)
    for first in every:
        for last in reversed(every):
            if first != last:
                yield [first, *(i for i in every if i not in (first, last)), last]
    for only in every:
        yield [only]
    if len(tables) <= _MOST_NODES_IN_ANY_ORDER:
        yield from _best_of_any_order(tables, combine)


def _best_of_any_order(tables: Sequence[Times], combine: np.ufunc) -> Iterator[list[int]]:
    """The best of all orders of all choices of nodes, if any fits.

    ``best[chosen, stop]`` is the least for the layers up to ``stop`` on the nodes whose bits are
    set in ``chosen``, each of which has some.
    """
    best = np.full((1 << len(tables), len(tables[0])), np.inf)
    best[0, 0] = 0.0
    for chosen in range(1, len(best)):
        for last in _members(chosen):
            before = best[chosen ^ (1 << last)]
            np.minimum(best[chosen], with_one_more(before, tables[last], combine), out=best[chosen])
    chosen, stop = int(best[:, -1].argmin()), best.shape[1] - 1
    if not np.isfinite(best[chosen, stop]):
        return
    order: list[int] = []
    while chosen:
        for last in reversed(_members(chosen)):
            ways = combine(best[chosen ^ (1 << last)], tables[last][:, stop])
            if ways.min() == best[chosen, stop]:
                order.insert(0, last)
                chosen, stop = chosen ^ (1 << last), int(ways.argmin())
                break
    yield order


def _members(chosen: int) -> list[int]:
    return [index for index in range(chosen.bit_length()) if (chosen >> index) & 1]

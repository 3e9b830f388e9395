"""What nodes offer to a plan, most of it the same, and what models ask of them."""

from hypothesis import strategies as st

from pi_cluster.cluster.layer_range import LayerRange
from pi_cluster.cluster.speed import Link, Speed
from pi_cluster.coordinator.planning.costs import LayerCost
from pi_cluster.coordinator.planning.plan import NodeCapacity

GIB = 2**30
NO_LINK = Link(1e-12, 1e30)


def capacity(
    node_id: str,
    free_memory_bytes: int = 64 * GIB,
    read_bytes_ps: float = 1e10,
    macs_ps: float = 1e30,
    *,
    machine_id: str = "",
    machine_read_bytes_ps: float | None = None,
    machine_macs_ps: float | None = None,
    reach: Link = NO_LINK,
) -> NodeCapacity:
    """A node, by default alone on its machine, whose arithmetic and links take no time."""
    machine = Speed(machine_read_bytes_ps or read_bytes_ps, machine_macs_ps or macs_ps)
    return NodeCapacity(
        node_id=node_id,
        name=node_id,
        free_memory_bytes=free_memory_bytes,
        speed=Speed(read_bytes_ps, macs_ps),
        machine_id=machine_id or node_id,
        machine_speed=machine,
        reach=reach,
    )


def alike_layers(most_layers: int, most_macs: int) -> st.SearchStrategy[tuple[LayerCost, ...]]:
    """The layers of a model that are all alike."""
    counts = st.integers(1, most_layers)
    return st.builds(lambda one, count: (one,) * count, _one_layer(most_macs), counts)


def layers_that_differ(
    most_layers: int, most_macs: int
) -> st.SearchStrategy[tuple[LayerCost, ...]]:
    """The layers of a model, each as it likes."""
    return st.lists(_one_layer(most_macs), min_size=1, max_size=most_layers).map(tuple)


def _one_layer(most_macs: int) -> st.SearchStrategy[LayerCost]:
    return st.builds(
        LayerCost,
        weight_bytes=st.integers(1, 30),
        cache_bytes=st.integers(0, 10),
        macs=st.integers(1, most_macs),
    )


def all_ranges(n_layers: int, n_nodes: int, start: int = 0) -> list[tuple[LayerRange, ...]]:
    """Every way to give so many nodes in a row at least one layer each."""
    if n_nodes == 1:
        return [(LayerRange(start, n_layers),)] if start < n_layers else []
    return [
        (LayerRange(start, stop), *rest)
        for stop in range(start + 1, n_layers)
        for rest in all_ranges(n_layers, n_nodes - 1, stop)
    ]

"""What nodes offer to a plan, most of it the same."""

from pi_cluster.cluster.speed import Link, Speed
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

"""What takes part: boards and the ways between them, and how hot and how well they are.

Nothing here has a name or an address: the table is made to be posted.
"""

import itertools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pi_cluster.cluster.heat import share_left
from pi_cluster.cluster.shown import shown_line
from pi_cluster.cluster.speed import Link
from pi_cluster.cluster.wire.client import NodeClient
from pi_cluster.cluster.wire.dialing import Dialer
from pi_cluster.cluster.wire.peer import is_loopback, split_address
from pi_cluster.coordinator.pipeline.measuring import measure_reach
from pi_cluster.coordinator.pipeline.nodes import Node
from pi_cluster.deploy.doctor.firmware import complaints
from pi_cluster.protos import pi_cluster_pb2 as pb

HERE = "this computer"


@dataclass(frozen=True, slots=True)
class Board:
    """A node's machine."""

    model: str
    memory_bytes: int
    system: str
    threads: int
    """Of the kernels."""
    kernels: str
    network: str
    version: str
    """Of its worker."""


@dataclass(frozen=True, slots=True)
class Way:
    """A link as the planner measures it: one way without content, and bytes a second."""

    start: str
    end: str
    delay_s: float
    bytes_ps: float


@dataclass(frozen=True, slots=True)
class Health:
    """How a node was at one moment."""

    temperature_c: float | None
    slowed_to: float
    """The part of its clock that its firmware leaves it; 1 where nothing is wrong."""
    complaints: tuple[str, ...] | None
    """Of its firmware, now and since boot; None where none tells."""


def look_at_boards(nodes: Sequence[Node], dialer: Dialer) -> list[Board]:
    """What each node tells of its machine. Raises ``ClusterError`` where one does not."""
    with ThreadPoolExecutor(max(1, len(nodes))) as pool:
        return list(pool.map(lambda node: _board(node, dialer), nodes))


def look_at_health(nodes: Sequence[Node], dialer: Dialer) -> list[Health]:
    """How each node is now. Raises ``ClusterError`` where one does not answer."""
    with ThreadPoolExecutor(max(1, len(nodes))) as pool:
        return list(pool.map(lambda node: _health(node, dialer), nodes))


def measure_ways(nodes: Sequence[Node], dialer: Dialer) -> list[Way]:
    """From this computer to each node, and from each to the next; a few seconds."""
    ways = [
        _way(HERE, str(number), link)
        for number, link in enumerate(measure_reach(nodes, dialer), start=1)
    ]
    for number, (node, following) in enumerate(itertools.pairwise(nodes), start=1):
        with NodeClient(node.peer, dialer) as client:
            link = client.measure_link(following.peer)
        ways.append(_way(str(number), str(number + 1), link))
    return ways


def _way(start: str, end: str, link: Link) -> Way:
    return Way(start, end, link.delay_s, link.bytes_ps)


def _board(node: Node, dialer: Dialer) -> Board:
    with NodeClient(node.peer, dialer) as client:
        told = client.examine([], listen_ms=0, measure_disk=False)
    system = ", ".join(filter(None, [told.system, f"Linux {told.linux}" if told.linux else ""]))
    return Board(
        model=shown_line(told.model) or told.architecture,
        memory_bytes=node.about.memory_bytes,
        system=shown_line(system),
        threads=node.about.threads,
        kernels=node.about.kernels,
        network=network_of(told.ports, node.address),
        version=node.about.version,
    )


def network_of(ports: Sequence[pb.NetworkPort], address: str) -> str:
    """The port at which a node was called; where that cannot be told, all that are up."""
    if is_loopback(address):
        return HERE
    host, _ = split_address(address)
    called = [port for port in ports if host in port.addresses]
    return " and ".join(_port(port) for port in called or ports if port.is_up)


def _port(port: pb.NetworkPort) -> str:
    kind = "Wi-Fi" if port.is_wireless else "cable"
    return f"{kind} {port.megabits_ps} Mbit/s" if port.megabits_ps else kind


def _health(node: Node, dialer: Dialer) -> Health:
    with NodeClient(node.peer, dialer) as client:
        about = client.describe()
    told = None
    if about.HasField("firmware_flags"):
        told = tuple(complaint.what for complaint in complaints(about.firmware_flags))
    return Health(about.temperature_c or None, share_left(about), told)

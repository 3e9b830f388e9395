"""Which nodes a pipeline may use: found, asked who they are, and checked."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from cluster import discovery, settings
from cluster.advice import command
from cluster.dialing import Dialer
from cluster.errors import ClusterError, NodeError
from cluster.node import NodeClient
from cluster.peer import Peer, is_loopback, parse_nodes
from deploy.advice import nobody_found
from protos import pi_cluster_pb2 as pb

_MAX_TOKEN_ID = 16


@dataclass(frozen=True, slots=True)
class Node:
    """A worker that has answered."""

    address: str
    about: pb.NodeDescription

    @property
    def peer(self) -> Peer:
        """The node to call."""
        return Peer(self.address, self.about.node_id, self.about.name)

    @property
    def label(self) -> str:
        """Name and address, for messages."""
        return self.peer.label


def find_nodes(cluster: str, dialer: Dialer) -> tuple[list[Node], list[str]]:
    """Workers of a cluster that mDNS finds and that answer, and warnings about the others."""
    found = discovery.discover(cluster, settings.DISCOVERY_S)
    peers = [peer for peer in found if not peer.joining]
    if not peers:
        raise NodeError(
            f"no workers of cluster {cluster!r} were found by mDNS: {nobody_found(cluster)}"
        )
    waiting = [
        f"leaving out {peer.label}, which waits to join by token {peer.joining[:_MAX_TOKEN_ID]!r}"
        for peer in found
        if peer.joining
    ]
    nodes, warnings = answering_nodes(peers, cluster, dialer)
    return nodes, [*waiting, *warnings]


def answering_nodes(
    peers: Sequence[Peer], cluster: str, dialer: Dialer
) -> tuple[list[Node], list[str]]:
    """Those of some workers that answer, and warnings about the others."""
    nodes, warnings = [], []
    for peer, answer in zip(peers, ask_all(peers, dialer), strict=True):
        if isinstance(answer, ClusterError):
            warnings.append(f"leaving out {peer.name or peer.address}: {answer}")
        else:
            nodes.append(answer)
    if not nodes:
        raise NodeError("\n".join(["no worker that was found can be used:", *warnings]))
    nodes, of_this_machine = _beyond_this_machine(nodes)
    warnings += [
        f"leaving out {node.label}: it serves this machine alone (`{command(cluster, 'down')}` "
        "stops workers that `up --local` started)"
        for node in of_this_machine
    ]
    return _checked(nodes, cluster), warnings


def _beyond_this_machine(nodes: Sequence[Node]) -> tuple[list[Node], list[Node]]:
    """Found nodes that can send to one another, and those on loopback if there are others."""
    loopback = [node for node in nodes if is_loopback(node.address)]
    if len(loopback) == len(nodes):
        return loopback, []
    return [node for node in nodes if node not in loopback], loopback


def ask_nodes(peers: Sequence[Peer], cluster: str, dialer: Dialer) -> list[Node]:
    """The workers at these addresses, all of which must answer."""
    nodes = []
    for answer in ask_all(peers, dialer):
        if isinstance(answer, ClusterError):
            raise answer
        nodes.append(answer)
    return _checked(nodes, cluster)


def named_or_found(nodes: str | None, cluster: str, dialer: Dialer) -> tuple[list[Node], list[str]]:
    """The nodes of a static list, or without one those that mDNS finds; and warnings."""
    if nodes:
        return ask_nodes(parse_nodes(nodes), cluster, dialer), []
    return find_nodes(cluster, dialer)


def ask_all(peers: Sequence[Peer], dialer: Dialer) -> list[Node | ClusterError]:
    """What each tells about itself, or why it does not."""
    with ThreadPoolExecutor(max_workers=min(32, len(peers) + 1)) as pool:
        return list(pool.map(lambda peer: _ask(peer, dialer), peers))


def _ask(peer: Peer, dialer: Dialer) -> Node | ClusterError:
    try:
        with NodeClient(peer, dialer) as client:
            return Node(peer.address, client.describe())
    except ClusterError as error:
        return error


def _checked(nodes: Sequence[Node], cluster: str) -> list[Node]:
    by_id: dict[str, Node] = {}
    for node in nodes:
        if node.about.cluster != cluster:
            raise NodeError(
                f"{node.label} belongs to cluster {node.about.cluster!r}, not {cluster!r}: "
                f"give --cluster {node.about.cluster}, or restart that worker with "
                f"--cluster {cluster}"
            )
        twin = by_id.setdefault(node.about.node_id, node)
        if twin is not node:
            raise NodeError(f"{twin.address} and {node.address} are the same node")
    _check_reachable(nodes)
    return list(nodes)


def _check_reachable(nodes: Sequence[Node]) -> None:
    """Workers send to one another, which a worker on loopback and one elsewhere cannot."""
    loopback = [node for node in nodes if is_loopback(node.address)]
    if loopback and len(loopback) < len(nodes):
        listening = command(loopback[0].about.cluster, "worker", "--listen", "ADDRESS")
        raise NodeError(
            f"{loopback[0].label} listens on loopback only, so nodes on other machines cannot "
            f"send to it: leave it out, or, unless `up --local` started it, start it anew with "
            f"`{listening}`"
        )

"""Which nodes a pipeline may use: found, asked who they are, and checked."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pi_cluster.cluster import settings
from pi_cluster.cluster.advice import command
from pi_cluster.cluster.discovery import mdns
from pi_cluster.cluster.discovery.sightings import MOST_NODES
from pi_cluster.cluster.errors import ClusterError, NodeError
from pi_cluster.cluster.wire.client import NodeClient
from pi_cluster.cluster.wire.dialing import Dialer
from pi_cluster.cluster.wire.peer import MOST_ADDRESSES, Peer, is_loopback, parse_nodes
from pi_cluster.coordinator.pipeline.nobody_found import nobody_found
from pi_cluster.coordinator.records.known_hosts import load_hosts
from pi_cluster.coordinator.records.known_nodes import known_nodes, not_found
from pi_cluster.protos import pi_cluster_pb2 as pb

_MAX_TOKEN_ID = 16
_MOST_WARNINGS = 16
_MOST_HEARD = MOST_ADDRESSES * 3 // 4


@dataclass(frozen=True, slots=True)
class Node:
    """A worker that has answered."""

    address: str
    about: pb.NodeDescription
    others: tuple[str, ...] = ()
    """Further addresses that were told of it."""

    @property
    def peer(self) -> Peer:
        """The node to call."""
        return Peer(self.address, self.about.node_id, self.about.name, others=self.others)

    @property
    def label(self) -> str:
        """Name and address, for messages."""
        return self.peer.label


def find_nodes(
    cluster: str, dialer: Dialer, ready: Sequence[Peer] = ()
) -> tuple[list[Node], list[str]]:
    """Workers of a cluster that answer, and warnings about the others.

    They are those that mDNS finds, those that were met before, and ``ready`` ones, which have just
    been set up.
    """
    known = {peer.node_id: peer for peer in known_nodes(cluster)}
    heard = mdns.listen(cluster, settings.DISCOVERY_S, known=known)
    members = [*ready, *(peer for peer in heard.peers if not peer.joining)]
    present = _merged(members, known)
    # Of those that are not heard it is asked whether they are there all the same.
    absent = _merged([*heard.departed, *known.values()], known, besides=present)
    found, silent = _asked(absent.values(), dialer)
    if not present and not found:
        missing = [not_found(peer, why, cluster) for peer, why in silent if peer.node_id in known]
        nobody = f"no workers of cluster {cluster!r} were found by mDNS: {nobody_found(cluster)}"
        raise NodeError("\n".join([nobody, *missing]))
    waiting = _few(
        [
            f"leaving out {peer.label}, which waits to join by token "
            f"{peer.joining[:_MAX_TOKEN_ID]!r}"
            for peer in heard.peers
            if peer.joining and peer.node_id not in present
        ]
    )
    if heard.left_out:
        waiting.append(
            f"more than {MOST_NODES} unknown nodes of cluster {cluster!r} are announced here: "
            "somebody floods this network; name the nodes with --nodes HOST:PORT,..."
        )
    # Hosts that are set up again by this very command have their own word about what failed.
    told = {one.node_id for one in load_hosts(cluster)} if ready else set()
    waiting += [
        not_found(peer, why, cluster)
        for peer, why in silent
        if peer.node_id in known and peer.node_id not in told
    ]
    nodes, warnings = answering_nodes(list(present.values()), cluster, dialer, found)
    return nodes, [*waiting, *warnings]


def _merged(
    peers: Iterable[Peer], known: Mapping[str, Peer], besides: Collection[str] = ()
) -> dict[str, Peer]:
    """Each node once, by its id, with all addresses that are told of it: where it was met last."""
    merged: dict[str, Peer] = {}
    for peer in peers:
        if peer.node_id not in besides:
            before = merged.get(peer.node_id, peer)
            last = known.get(peer.node_id, peer)
            heard = dict.fromkeys([*before.addresses, *peer.addresses])
            # Whatever else is announced, the addresses at which it was met are tried.
            addresses = dict.fromkeys([*list(heard)[:_MOST_HEARD], *last.addresses])
            merged[peer.node_id] = before.at(list(addresses)[:MOST_ADDRESSES])
    return merged


def _asked(
    peers: Collection[Peer], dialer: Dialer
) -> tuple[list[Node], list[tuple[Peer, ClusterError]]]:
    """Those that answer, and why the others do not."""
    answers = list(zip(peers, ask_all(list(peers), dialer), strict=True))
    nodes = [answer for _, answer in answers if isinstance(answer, Node)]
    return nodes, [(peer, why) for peer, why in answers if isinstance(why, ClusterError)]


def answering_nodes(
    peers: Sequence[Peer], cluster: str, dialer: Dialer, others: Sequence[Node] = ()
) -> tuple[list[Node], list[str]]:
    """Those of some workers that answer, with others that have; and warnings about the rest."""
    nodes, warnings = [], []
    for peer, answer in zip(peers, ask_all(peers, dialer), strict=True):
        if isinstance(answer, ClusterError):
            warnings.append(f"leaving out {peer.name or peer.address}: {answer}")
        else:
            nodes.append(answer)
    nodes += others
    if not nodes:
        raise NodeError("\n".join(["no worker that was found can be used:", *_few(warnings)]))
    nodes, of_this_machine = _beyond_this_machine(nodes)
    warnings += [
        f"leaving out {node.label}: it serves this machine alone (`{command(cluster, 'down')}` "
        "stops workers that `up --local` started)"
        for node in of_this_machine
    ]
    return _checked(nodes, cluster), _few(warnings)


def _few(warnings: Sequence[str]) -> list[str]:
    """As many as a person reads: anybody can announce nodes that do not answer."""
    more = len(warnings) - _MOST_WARNINGS
    if more <= 0:
        return list(warnings)
    return [
        *warnings[:_MOST_WARNINGS],
        f"leaving out {more} more that were found, for such reasons",
    ]


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
        return list(pool.map(lambda peer: ask_node(peer, dialer), peers))


def ask_node(peer: Peer, dialer: Dialer, *, try_next: bool = False) -> Node | ClusterError:
    """What a node tells about itself, or why it does not.

    With ``try_next`` it tells also whether it reaches the node that follows in its pipeline.
    """
    addresses = list(peer.addresses)
    while True:
        try:
            with NodeClient(peer.at(addresses), dialer) as client:
                about, there = client.describe(try_next=try_next), client.peer
        except ClusterError as error:
            return error
        if about.node_id == peer.node_id or not peer.node_id:
            return Node(there.address, about, there.others)
        # Without certificates only the answer tells that an address is somebody else's by now.
        addresses.remove(there.address)
        if not addresses:
            return NodeError(
                f"{peer.label} is node {peer.node_id}, but node {about.node_id} answers there"
            )


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

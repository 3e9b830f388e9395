"""What the operator tells nodes that take part: who is out, whom to trust."""

import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from pi_cluster.cluster import settings
from pi_cluster.cluster.discovery.mdns import discover
from pi_cluster.cluster.errors import AccessError, ClusterError, StateError
from pi_cluster.cluster.trust.authority import ClusterAuthority
from pi_cluster.cluster.trust.identity import Identity, Role
from pi_cluster.cluster.trust.issued import Certification
from pi_cluster.cluster.trust.ledger import Issued
from pi_cluster.cluster.wire.client import NodeClient
from pi_cluster.cluster.wire.dialing import Dialer
from pi_cluster.cluster.wire.peer import Peer, parse_nodes
from pi_cluster.coordinator.pipeline.nodes import Node, ask_all
from pi_cluster.coordinator.records.kept_record import load_record


@dataclass(frozen=True, slots=True)
class Member:
    """A node with a good certificate, and whether it can be reached."""

    issued: Issued
    node: Node | None
    problem: str = ""
    """Why it cannot be reached."""


def find_members(
    authority: ClusterAuthority, dialer: Dialer, nodes: str | None = None
) -> list[Member]:
    """All nodes with good certificates; addresses from the pipeline, from mDNS, and ``nodes``."""
    newest = {one.id: one for one in authority.good if one.role is Role.NODE}
    peers = _known_peers(authority.cluster, nodes)
    reached: dict[str, Node] = {}
    problems: dict[str, str] = {}
    for peer, answer in zip(peers, ask_all(peers, dialer), strict=True):
        if isinstance(answer, Node):
            reached[answer.about.node_id] = answer
        elif peer.node_id:
            problems[peer.node_id] = str(answer)
    unknown = "its address is not known: name it with --nodes HOST:PORT"
    return [
        Member(one, reached.get(one.id), problems.get(one.id, unknown)) for one in newest.values()
    ]


def tell(
    members: Sequence[Member], act: Callable[[NodeClient, Node], None], dialer: Dialer
) -> list[Member]:
    """Do something at all nodes at once; returns those where it was not done, with the reason."""

    def one(member: Member) -> Member | None:
        if member.node is None:
            return member
        try:
            with NodeClient(member.node.peer, dialer) as client:
                act(client, member.node)
        except ClusterError as error:
            return replace(member, problem=str(error))
        return None

    with ThreadPoolExecutor(max_workers=min(32, len(members) + 1)) as pool:
        return [failed for failed in pool.map(one, members) if failed]


def reissue(authority: ClusterAuthority, client: NodeClient, node: Node) -> None:
    """A new key and certificate for a node, and what goes with it.

    The connection is to who has the node's present certificate: that of the id that it told of
    itself, or there would be none.
    """
    identity = Identity(authority.cluster, Role.NODE, node.about.node_id)
    client.certify(authority.renew(client.request_certificate(), identity, node.about.name))


def rotate(
    authority: ClusterAuthority, dialer: Dialer, nodes: str | None, leave_behind: bool
) -> list[Member]:
    """Put another authority in the place of this one, and give every node a certificate by it.

    Interrupted, it goes on when it is called again. Returns the nodes that were left behind, which
    have to join again. Raises ``AccessError`` when there are some and ``leave_behind`` is false;
    until then the old certificates are good.
    """

    def at_all(act: Callable[[NodeClient, Node], None]) -> None:
        failed = tell(members, act, dialer)
        if failed and not leave_behind:
            raise _not_reached(failed)
        behind.update({one.issued.id: one for one in failed})

    behind: dict[str, Member] = {}
    members = find_members(authority, dialer, nodes)
    lost = [member for member in members if member.node is None]
    if lost and not leave_behind:
        raise _not_reached(lost)
    if not authority.has_predecessor:
        authority.prepare_successor()
        at_all(lambda client, _: client.certify(_trusting(authority)))
        authority.succeed()
    at_all(lambda client, node: reissue(authority, client, node))
    authority.forget_predecessor()
    for one in tell(members, lambda client, _: client.certify(authority.news), dialer):
        behind.setdefault(one.issued.id, one)
    return list(behind.values())


def _trusting(authority: ClusterAuthority) -> Certification:
    return Certification(authorities=authority.authorities_pem)


def _not_reached(members: Sequence[Member]) -> AccessError:
    lines = [f"  {member.issued.name} ({member.issued.id}): {member.problem}" for member in members]
    return AccessError(
        "\n".join(
            [
                "these nodes cannot be reached, and would be shut out by a new authority:",
                *lines,
                "switch them on or name them with --nodes, then run the same command again; "
                "--leave-behind goes on without them, and they have to join again",
            ]
        )
    )


def _known_peers(cluster: str, nodes: str | None) -> list[Peer]:
    found = [peer for peer in discover(cluster, settings.DISCOVERY_S) if not peer.joining]
    with contextlib.suppress(StateError):
        found += [stage.peer for stage in load_record(cluster).addresses]
    known = {(peer.node_id, peer.address): peer for peer in found}
    named = parse_nodes(nodes) if nodes else []
    return [*known.values(), *named]

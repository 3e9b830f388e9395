"""Who hears whom by mDNS: that tells a blocked machine from a blocked network."""

from collections.abc import Iterator

from pi_cluster.deploy.doctor.facts import ClusterFacts, Examined
from pi_cluster.deploy.doctor.findings import THIS_MACHINE, Finding, warning

_FIREWALL = "sudo ufw allow 5353/udp"
_NAME_THEM = "or name the nodes with --nodes HOST:PORT,..., which needs no mDNS"
_NETWORK = (
    "on the switch, turn IGMP snooping (with IPv6: MLD snooping) off, or a querier on; on a Wi-Fi "
    f"router, turn client or AP isolation off; {_NAME_THEM}"
)


def multicast(facts: ClusterFacts) -> Iterator[Finding]:
    """Nodes that do not hear, or are not heard, while others are; and this machine's own ears."""
    operator, nodes = facts.operator, facts.nodes
    if operator.mdns_error:
        yield warning(
            THIS_MACHINE,
            f"mDNS cannot be used here: {operator.mdns_error}",
            f"end other programs that keep UDP port 5353 to themselves, {_NAME_THEM}",
        )
    # Whoever is heard by anybody announces itself: the others may have been told not to.
    announced = {node_id for node in nodes for node_id in _others_heard(node, nodes)}
    announced |= set(operator.heard) & {node.about.node_id for node in nodes}
    if len(nodes) > 1 and not announced:
        yield warning(
            THIS_MACHINE,
            "no node is heard by mDNS, neither from here nor from another node",
            f"if they were started with --no-mdns, nothing; else {_NETWORK}",
        )
        return
    yield from _deaf(nodes, announced)
    yield from _unheard(nodes, announced)
    if announced and not set(operator.heard) & announced and not operator.mdns_error:
        yield warning(
            THIS_MACHINE,
            "the nodes hear each other by mDNS, and are not heard from here",
            f"{_FIREWALL}; stay on the nodes' own network (mDNS does not pass routers or VPNs); "
            f"{_NAME_THEM}",
        )


def _deaf(nodes: tuple[Examined, ...], announced: set[str]) -> Iterator[Finding]:
    for node in nodes:
        others = announced - {node.about.node_id}
        if others and not _others_heard(node, nodes):
            yield warning(
                node.name,
                f"it hears none of the {len(others)} other nodes that announce themselves by mDNS",
                f"{_FIREWALL}; {_NETWORK}",
            )


def _unheard(nodes: tuple[Examined, ...], announced: set[str]) -> Iterator[Finding]:
    for node in nodes:
        if announced and node.about.node_id not in announced:
            yield warning(
                node.name,
                "no other machine hears it by mDNS, though others are heard: multicast does not "
                "reach it, or does not leave it",
                f"if it was started with --no-mdns, nothing; else {_FIREWALL} there; {_NETWORK}",
            )


def _others_heard(node: Examined, nodes: tuple[Examined, ...]) -> set[str]:
    """Ids of other known nodes that this one hears."""
    known = {other.about.node_id for other in nodes} - {node.about.node_id}
    return known & set(node.examination.heard)

"""Nodes that do not answer: whether it is the machine, the network or the worker."""

from collections.abc import Iterator

from cluster.errors import VersionError
from deploy.facts import ClusterFacts, Silent
from deploy.findings import Finding, problem


def silent_nodes(facts: ClusterFacts) -> Iterator[Finding]:
    """One problem for each node that was expected to answer."""
    for node in facts.silent:
        yield problem(node.name, _what(node), _to_do(node, facts.cluster))


def _what(node: Silent) -> str:
    if node.connection:
        return f"no connection to {node.peer.address}: {node.connection}"
    return f"it accepts connections and gives no good answer: {node.error}"


def _to_do(node: Silent, cluster: str) -> str:
    host = node.peer.address.rpartition(":")[0].strip("[]")
    service = f"pi-cluster-{cluster}"
    if isinstance(node.error, VersionError):
        return "install the same version everywhere: `pi-cluster up --hosts ...` does"
    if node.connection.startswith("refused"):
        return (
            f"its worker does not run: ssh {host} systemctl status {service}, and "
            f"`journalctl -u {service}` there tells why; start it again with `pi-cluster up`"
        )
    if node.connection.startswith("no such name"):
        return (
            f"see whether {host} is written rightly (ping {host}); a name in .local needs mDNS: "
            "try the address that the router shows"
        )
    if node.connection:
        return (
            f"see whether it has power and a network (ping {host}), and on it whether a firewall "
            "is in the way: sudo ufw allow 7711/tcp"
        )
    return f"ssh {host} journalctl -u {service} -n 50 tells what it does"

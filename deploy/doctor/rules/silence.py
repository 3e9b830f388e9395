"""Nodes that do not answer: whether it is the machine, the network or the worker."""

from collections.abc import Iterator

from pi_cluster.cluster.advice import command
from pi_cluster.cluster.errors import VersionError
from pi_cluster.cluster.wire.peer import is_loopback
from pi_cluster.deploy.doctor.facts import ClusterFacts, HostService, Silent
from pi_cluster.deploy.doctor.findings import Finding, problem


def silent_nodes(facts: ClusterFacts) -> Iterator[Finding]:
    """One problem for each node that was expected to answer."""
    for node in facts.silent:
        told = _by_its_host(node, node.service, facts) if node.service else None
        what, to_do = told or (_what(node), _to_do(node, facts))
        yield problem(node.name, what, to_do)


def _by_its_host(node: Silent, service: HostService, facts: ClusterFacts) -> tuple[str, str] | None:
    """What is the matter and what to do, if the host itself knows; else None."""
    if service.error:
        return (
            f"{_what(node)}; and over SSH: {service.error}",
            "see whether it has power and a network, then run "
            f"{command(facts.cluster, 'doctor')} again",
        )
    look = f"ssh {service.host} journalctl -u pi-cluster-{facts.cluster}"
    said = f", and said last: {service.journal[-1]}" if service.journal else ""
    if not service.is_active or service.restarts:
        return (
            f"its service is {service.state}, started again {service.restarts} times{said}",
            f"{facts.up} sets it right, or says what is in the way; all of its log: {look}",
        )
    if node.connection:
        return (
            f"its worker runs, but cannot be reached from here at {node.peer.address}: "
            f"{node.connection}",
            "a firewall there is in the way: sudo ufw allow 7711/tcp; or it has another address "
            f"now: run {facts.up}",
        )
    return None


def _what(node: Silent) -> str:
    if node.connection:
        return f"no connection to {node.peer.address}: {node.connection}"
    return f"it accepts connections and gives no good answer: {node.error}"


def _to_do(node: Silent, facts: ClusterFacts) -> str:
    host = node.peer.address.rpartition(":")[0].strip("[]")
    service = f"pi-cluster-{facts.cluster}"
    if is_loopback(node.peer.address):
        return _to_do_here(node, facts)
    if isinstance(node.error, VersionError):
        return (
            f"install the same version everywhere: {command(facts.cluster, 'up')} does so on the "
            "hosts that `up --hosts` has set up"
        )
    if node.connection.startswith("refused"):
        return (
            f"its worker does not run: ssh {host} systemctl status {service}, and "
            f"`journalctl -u {service}` there tells why; if it was set up over SSH, {facts.up} "
            "starts it again"
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


def _to_do_here(node: Silent, facts: ClusterFacts) -> str:
    """A worker on this machine, for which there is neither SSH nor a service."""
    log = f"its log: {node.log}" if node.log else "look where it was started"
    if isinstance(node.error, VersionError):
        return f"run {command(facts.cluster, 'down')}, then {facts.up}; {log}"
    if not node.log:
        return f"start it again (`{command(facts.cluster, 'worker')}`), and run {facts.up}; {log}"
    if node.connection:
        return f"its worker does not run: {facts.up} starts it again; {log}"
    return f"if it stays so, run {command(facts.cluster, 'down')}, then {facts.up}; {log}"

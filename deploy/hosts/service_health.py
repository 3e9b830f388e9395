"""How the service of a known host is, asked over SSH where its worker does not answer."""

from collections.abc import Sequence

from pi_cluster.cluster.errors import ClusterError
from pi_cluster.cluster.wire.peer import Peer
from pi_cluster.coordinator.records.known_hosts import KnownHost
from pi_cluster.deploy.doctor.facts import HostService
from pi_cluster.deploy.hosts.answers import ask_health, ask_journal
from pi_cluster.deploy.hosts.remote_host import RemoteHost


def service_of(cluster: str, peer: Peer, known: Sequence[KnownHost]) -> HostService | None:
    """What the host of a silent node says; None for one that was not set up over SSH."""
    for one in known:
        if (one.node_id and one.node_id == peer.node_id) or one.address == peer.address:
            return _ask(cluster, one)
    return None


def _ask(cluster: str, known: KnownHost) -> HostService:
    label = known.host.destination
    try:
        with RemoteHost(known.host) as remote:
            health = ask_health(remote, cluster)
            journal = ask_journal(remote, cluster)
    except ClusterError as error:
        return HostService(label, error=str(error))
    return HostService(
        label,
        state=health.state,
        is_active=health.is_active,
        restarts=health.restarts,
        journal=tuple(journal),
    )

"""Which nodes `up` plans for where no hosts are set up: named, local, as they were, or found."""

from collections.abc import Sequence

from pi_cluster.cluster import settings
from pi_cluster.cluster.discovery.mdns import discover
from pi_cluster.cluster.errors import ClusterError
from pi_cluster.cluster.wire.dialing import Dialer
from pi_cluster.cluster.wire.peer import Peer, parse_nodes
from pi_cluster.coordinator.pipeline.nodes import Node, answering_nodes, ask_nodes, find_nodes
from pi_cluster.coordinator.records.up_call import UpCall
from pi_cluster.deploy.local_workers import ensure_local_workers
from pi_cluster.deploy.screen import output


def named_nodes(call: UpCall, cluster: str, dialer: Dialer) -> list[Node]:
    """The nodes of ``--nodes`` and ``--local``, all of which must answer."""
    return ask_nodes(_peers(call, cluster), cluster, dialer)


def nodes_as_before(call: UpCall, cluster: str, dialer: Dialer) -> list[Node]:
    """Those of an earlier call as far as they answer, local ones started again; else found ones."""
    if call.local or call.nodes:
        found, warnings = answering_nodes(_peers(call, cluster), cluster, dialer)
    else:
        found, warnings = find_nodes(cluster, dialer)
    output.warn(warnings)
    return found


def with_announced(ready: Sequence[Peer], cluster: str, dialer: Dialer, look: bool) -> list[Node]:
    """The hosts' workers, and with ``look`` those that joined the cluster by themselves."""
    nodes, warnings = (
        find_nodes(cluster, dialer, ready) if look else answering_nodes(ready, cluster, dialer)
    )
    output.warn(warnings)
    return nodes


def _peers(call: UpCall, cluster: str) -> list[Peer]:
    peers = parse_nodes(call.nodes) if call.nodes else []
    return peers + (_local(cluster, call.local) if call.local else [])


def _local(cluster: str, count: int) -> list[Peer]:
    """Local workers, started as far as they do not run."""
    started = ensure_local_workers(cluster, count)
    expected = [peer.node_id for peer in started]
    try:
        seen = {p.node_id for p in discover(cluster, settings.LOCAL_DISCOVERY_S, expected)}
    except ClusterError as error:
        output.warn([f"{error}; using the addresses that the local workers wrote down"])
        return started
    if unseen := [peer.name for peer in started if peer.node_id not in seen]:
        output.warn(
            [
                f"mDNS does not find {', '.join(unseen)} (is multicast blocked here?); using the "
                "addresses that they wrote down"
            ]
        )
    return started

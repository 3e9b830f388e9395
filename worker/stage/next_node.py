"""Whether the node that follows in the pipeline can be called, asked while the stage is idle."""

from pi_cluster.cluster import settings
from pi_cluster.cluster.errors import ClusterError
from pi_cluster.cluster.wire.addresses import as_seen_from
from pi_cluster.cluster.wire.client import NodeClient
from pi_cluster.cluster.wire.dialing import Dialer
from pi_cluster.cluster.wire.interfaces import own_interfaces
from pi_cluster.cluster.wire.peer import Peer
from pi_cluster.worker.machine.reach import reach

_MAX_REASON = 1_000


def why_unreachable(following: Peer, dialer: Dialer) -> str:
    """Why the next node cannot be called; empty if it can."""
    # Where the last session found it, if it has moved since the stage was loaded.
    following = dialer.found(as_seen_from(following, own_interfaces()))
    # A firewall lets the call itself wait for longer than whoever asks would.
    reasons = reach(following.addresses, settings.EXPLAIN_TIMEOUT_S)
    if all(reasons):
        return reasons[0]
    try:
        with NodeClient(following, dialer, apart=True) as client:
            client.describe(settings.EXPLAIN_TIMEOUT_S)
    except ClusterError as refused:
        return str(refused)[:_MAX_REASON]
    return ""

"""Has nodes read all of their shards again, all nodes at once."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pi_cluster.cluster.errors import ClusterError
from pi_cluster.cluster.wire.dialing import Dialer
from pi_cluster.cluster.wire.peer import Peer
from pi_cluster.coordinator.pipeline.open_clients import OpenClients
from pi_cluster.protos import pi_cluster_pb2 as pb

_AT_ONCE = 32

OnProgress = Callable[[Peer, pb.VerifyShardsReply], None]
"""Is told how far a node is; called from several threads."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What one node found."""

    peer: Peer
    shards: int = 0
    """That are right."""
    damaged: tuple[pb.DamagedShard, ...] = ()
    error: ClusterError | None = None
    """Why it could not be asked, or did not come to an end."""

    @property
    def is_right(self) -> bool:
        """Whether all that the node holds is right."""
        return not self.damaged and self.error is None


def verify_nodes(peers: Sequence[Peer], dialer: Dialer, on_progress: OnProgress) -> list[Verified]:
    """Ask all of them, in their order. Ctrl-C here ends it at the nodes as well."""
    clients = OpenClients(dialer)

    def one(peer: Peer) -> Verified:
        try:
            with clients.client(peer) as client:
                last = client.verify_shards(lambda reply: on_progress(peer, reply))
        except ClusterError as error:
            return Verified(peer, error=error)
        return Verified(peer, last.shards, tuple(last.damaged))

    with ThreadPoolExecutor(max(1, min(_AT_ONCE, len(peers))), "verify") as pool:
        try:
            return list(pool.map(one, peers))
        except BaseException:
            clients.stop()
            raise

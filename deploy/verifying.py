"""Has nodes read all of their shards again, all nodes at once."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from cluster.dialing import Dialer
from cluster.errors import ClusterError, NodeError
from cluster.node import NodeClient
from cluster.peer import Peer
from protos import pi_cluster_pb2 as pb

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
    return _Verifying(dialer, on_progress).run(peers)


class _Verifying:
    """Open calls, which can be broken off."""

    def __init__(self, dialer: Dialer, on_progress: OnProgress) -> None:
        self._dialer = dialer
        self._on_progress = on_progress
        self._lock = threading.Lock()
        self._clients: set[NodeClient] = set()
        self._is_stopped = False

    def run(self, peers: Sequence[Peer]) -> list[Verified]:
        with ThreadPoolExecutor(max(1, min(_AT_ONCE, len(peers))), "verify") as pool:
            try:
                return list(pool.map(self._one, peers))
            except BaseException:
                self._stop()
                raise

    def _one(self, peer: Peer) -> Verified:
        try:
            with self._client(peer) as client:
                last = client.verify_shards(lambda reply: self._on_progress(peer, reply))
        except ClusterError as error:
            return Verified(peer, error=error)
        return Verified(peer, last.shards, tuple(last.damaged))

    @contextlib.contextmanager
    def _client(self, peer: Peer) -> Iterator[NodeClient]:
        """A client that :meth:`_stop` closes."""
        with NodeClient(peer, self._dialer) as client:
            with self._lock:
                if self._is_stopped:
                    raise NodeError("the verification was broken off")
                self._clients.add(client)
            try:
                yield client
            finally:
                with self._lock:
                    self._clients.remove(client)

    def _stop(self) -> None:
        with self._lock:
            self._is_stopped = True
            for client in self._clients:
                client.close()

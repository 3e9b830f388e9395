"""Calls that may take long, to a node that is given up once it does not answer beside them."""

import contextlib
import threading
from collections.abc import Iterator

from pi_cluster.cluster import settings
from pi_cluster.cluster.errors import NodeLost
from pi_cluster.cluster.wire.client import NodeClient
from pi_cluster.cluster.wire.dialing import Dialer
from pi_cluster.cluster.wire.peer import Peer
from pi_cluster.cluster.wire.pulse import Pulse

_LOOK_EVERY_S = 0.25
_NO_SESSION = ""  # asking keeps none alive


@contextlib.contextmanager
def attended(
    peer: Peer,
    dialer: Dialer,
    silent_s: float = settings.GIVE_UP_AFTER_S + settings.FIRST_ANSWER_S,
) -> Iterator[NodeClient]:
    """A client for the block, whose calls may last as long as the node answers beside them.

    After a silence of ``silent_s`` they are broken off. Raises ``NodeLost`` then.
    """
    with NodeClient(peer, dialer) as client:
        attention = _Attention(client, peer, dialer, silent_s)
        try:
            yield client
        except Exception:  # gRPC has a ValueError for calls on what is closed already
            if attention.lost:
                raise attention.lost from None
            raise
        finally:
            attention.end()


class _Attention:
    """Asks a node beside the calls of a client, and closes the client when it is silent."""

    def __init__(self, client: NodeClient, peer: Peer, dialer: Dialer, silent_s: float) -> None:
        self.lost: NodeLost | None = None
        self._client, self._peer, self._silent_s = client, peer, silent_s
        self._pulse = Pulse(peer, dialer, _NO_SESSION)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="attention", daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._ending.set()
        self._thread.join()
        self._pulse.close()

    def _run(self) -> None:
        while not self._ending.wait(_LOOK_EVERY_S):
            silent_s = self._pulse.silent_s
            if silent_s > self._silent_s:
                said = (
                    f"{self._peer.label} has not answered for {silent_s:.0f} s: look at that node"
                )
                ids = [self._peer.node_id] if self._peer.node_id else ()
                self.lost = NodeLost(said, ids, awaited_s=silent_s)
                self._client.close()
                return

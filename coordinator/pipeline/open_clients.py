"""Clients of nodes that calls are open with, on several threads: all can be broken off at once."""

import contextlib
import threading
from collections.abc import Iterator

from pi_cluster.cluster.errors import NodeError
from pi_cluster.cluster.wire.client import NodeClient
from pi_cluster.cluster.wire.dialing import Dialer
from pi_cluster.cluster.wire.peer import Peer


class OpenClients:
    """Opens clients until it is stopped, which closes those that are open."""

    def __init__(self, dialer: Dialer) -> None:
        self._dialer = dialer
        self._lock = threading.Lock()
        self._open: set[NodeClient] = set()
        self._is_stopped = False

    @contextlib.contextmanager
    def client(self, peer: Peer) -> Iterator[NodeClient]:
        """A client for the block. Raises ``NodeError`` once this is stopped."""
        with NodeClient(peer, self._dialer) as client:
            with self._lock:
                if self._is_stopped:
                    raise NodeError("it was broken off here")
                self._open.add(client)
            try:
                yield client
            finally:
                with self._lock:
                    self._open.remove(client)

    def stop(self) -> None:
        """Break off what is under way, and let nothing else begin."""
        with self._lock:
            self._is_stopped = True
            for client in self._open:
                client.close()

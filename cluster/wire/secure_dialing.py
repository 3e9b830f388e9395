"""How a node on another machine is called: with mutual TLS."""

import threading

import grpc

from pi_cluster.cluster import settings
from pi_cluster.cluster.errors import ClusterError
from pi_cluster.cluster.trust.certificates import server_name
from pi_cluster.cluster.trust.credentials import Credentials, LiveCredentials
from pi_cluster.cluster.wire.handshake import who_answers
from pi_cluster.cluster.wire.options import client_options
from pi_cluster.cluster.wire.peer import Peer
from pi_cluster.cluster.wire.probing import unreachable, ways_to
from pi_cluster.cluster.wire.reached import Reached


class SecureDialer:
    """Mutual TLS with a folder's credentials, as they are at the time of each connection.

    Before the first channel to a node it looks who answers there, which gives failures a reason,
    finds the id of a node that was named by address alone, chooses among several addresses, and
    honours the revocation list. The channel itself then takes nobody but that node.
    """

    def __init__(self, credentials: LiveCredentials) -> None:
        self._live = credentials
        self._lock = threading.Lock()
        self._used: Credentials | None = None
        self._channel_credentials: grpc.ChannelCredentials | None = None
        self._reached = Reached()

    def connect(self, peer: Peer, apart: bool = False) -> grpc.Channel:
        """Raises ``NodeLost`` or ``AccessError`` with the reason when it cannot be called."""
        now, channel_credentials = self._current()
        address, node_id = self._reached.at(peer, apart), peer.node_id
        if address is None:
            address, node_id = _look(peer, now)
            # A name that was given by hand may lead to another node the next time.
            if peer.node_id and self._used is now:
                self._reached.note(peer, address)
        name = ("grpc.ssl_target_name_override", server_name(node_id))
        return grpc.secure_channel(
            address, channel_credentials, options=[*client_options(apart), name]
        )

    def found(self, peer: Peer) -> Peer:
        """The node with the address first at which it proved to be itself."""
        return self._reached.first(peer)

    def explain(self, peer: Peer) -> ClusterError | None:
        """What a fresh look at the node finds wrong, or None."""
        found = self.found(peer)
        self._reached.forget(peer)
        try:
            who_answers(found, self._live.current, settings.EXPLAIN_TIMEOUT_S)
        except ClusterError as error:
            return error
        return None

    def _current(self) -> tuple[Credentials, grpc.ChannelCredentials]:
        """Our credentials now. Channels to one node share a connection while these stay."""
        now = self._live.current
        with self._lock:
            if self._channel_credentials is None or now is not self._used:
                self._used = now
                self._reached.clear()
                self._channel_credentials = grpc.ssl_channel_credentials(
                    now.authorities_pem, now.key_pem, now.certificate_pem
                )
            return now, self._channel_credentials


def _look(peer: Peer, credentials: Credentials) -> tuple[str, str]:
    """The first address at which a node proves to be the one that is meant, and its id."""
    failure: ClusterError | None = None
    for address in ways_to(peer, settings.CONNECT_TIMEOUT_S):
        try:
            there = peer.at([address])
            return address, who_answers(there, credentials, settings.CONNECT_TIMEOUT_S).id
        except ClusterError as error:
            failure = failure or error
    raise failure or unreachable(peer)

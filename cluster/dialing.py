"""How a node is called: in the clear on this machine, with mutual TLS everywhere else."""

import threading
from typing import Protocol

import grpc

from cluster import settings, wire
from cluster.advice import command
from cluster.certificates import server_name
from cluster.credentials import Credentials, LiveCredentials
from cluster.errors import AccessError, ClusterError, NodeLost
from cluster.handshake import shown_certificate, who_answers
from cluster.peer import Peer, is_loopback

_MAX_CHECKED = 1_000


class Dialer(Protocol):
    """Opens channels to nodes."""

    def connect(self, peer: Peer) -> grpc.Channel:
        """A channel to a node. Raises ``ClusterError`` when that node must not be called."""
        ...

    def explain(self, peer: Peer) -> ClusterError | None:
        """Why a call to a node failed that gRPC calls unavailable, where there is more to say."""
        ...


class PlainDialer:
    """No encryption and nobody's identity checked: for this machine alone.

    With ``beyond_loopback`` it also calls other machines, which only ``--insecure`` asks for.
    """

    def __init__(
        self, beyond_loopback: bool = False, cluster: str = settings.DEFAULT_CLUSTER
    ) -> None:
        self._beyond_loopback = beyond_loopback
        self._cluster = cluster

    def connect(self, peer: Peer) -> grpc.Channel:
        """Raises ``ClusterError`` for another machine, unless that was asked for."""
        if not self._beyond_loopback and not is_loopback(peer.address):
            raise AccessError(
                f"{peer.label} is not on this machine, and this user has no certificates for this "
                f"cluster: make them with `{command(self._cluster, 'init')}`, or give --insecure "
                "if everyone on this network may use the nodes and read along"
            )
        return grpc.insecure_channel(peer.address, options=wire.CLIENT_OPTIONS)

    def explain(self, peer: Peer) -> ClusterError | None:
        """Whether the node wanted TLS."""
        try:
            shown = shown_certificate(peer, settings.EXPLAIN_TIMEOUT_S)
        except NodeLost:
            return None
        if shown is None:
            return None
        return AccessError(
            f"{peer.label} takes only calls with a certificate, and this user has none for this "
            f"cluster: run this where `{command(self._cluster, 'init')}` was run, give --cluster "
            "if it is of another one, or get a grant from its operator "
            f"(`{command(self._cluster, 'grant', 'NAME', '--out', 'FILE')}` there)"
        )


class SecureDialer:
    """Mutual TLS with a folder's credentials, as they are at the time of each connection.

    Before the first channel to a node it looks who answers there, which gives failures a reason,
    finds the id of a node that was named by address alone, and honours the revocation list. The
    channel itself then takes nobody but that node.
    """

    def __init__(self, credentials: LiveCredentials) -> None:
        self._live = credentials
        self._lock = threading.Lock()
        self._used: Credentials | None = None
        self._channel_credentials: grpc.ChannelCredentials | None = None
        self._checked: dict[Peer, str] = {}

    def connect(self, peer: Peer) -> grpc.Channel:
        """Raises ``NodeLost`` or ``AccessError`` with the reason when it cannot be called."""
        now, channel_credentials = self._current()
        with self._lock:
            node_id = self._checked.get(peer)
        if node_id is None:
            node_id = who_answers(peer, now, settings.CONNECT_TIMEOUT_S).id
            with self._lock:
                # A name that was given by hand may lead to another node the next time.
                if peer.node_id and len(self._checked) < _MAX_CHECKED and self._used is now:
                    self._checked[peer] = node_id
        name = ("grpc.ssl_target_name_override", server_name(node_id))
        return grpc.secure_channel(
            peer.address, channel_credentials, options=[*wire.CLIENT_OPTIONS, name]
        )

    def explain(self, peer: Peer) -> ClusterError | None:
        """What a fresh look at the node finds wrong, or None."""
        with self._lock:
            self._checked.pop(peer, None)
        try:
            who_answers(peer, self._live.current, settings.EXPLAIN_TIMEOUT_S)
        except ClusterError as error:
            return error
        return None

    def _current(self) -> tuple[Credentials, grpc.ChannelCredentials]:
        """Our credentials now. Channels to one node share a connection while these stay."""
        now = self._live.current
        with self._lock:
            if self._channel_credentials is None or now is not self._used:
                self._used = now
                self._checked.clear()
                self._channel_credentials = grpc.ssl_channel_credentials(
                    now.authorities_pem, now.key_pem, now.certificate_pem
                )
            return now, self._channel_credentials

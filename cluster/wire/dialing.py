"""How a node is called: in the clear on this machine.

Everywhere else it is called with mutual TLS (`secure_dialing.py`).
"""

from typing import Protocol

import grpc

from pi_cluster.cluster import settings
from pi_cluster.cluster.advice import command
from pi_cluster.cluster.errors import AccessError, ClusterError, NodeLost
from pi_cluster.cluster.wire.options import client_options
from pi_cluster.cluster.wire.peer import Peer, is_loopback
from pi_cluster.cluster.wire.probing import accepting, unreachable
from pi_cluster.cluster.wire.reached import Reached


class Dialer(Protocol):
    """Opens channels to nodes."""

    def connect(self, peer: Peer, apart: bool = False) -> grpc.Channel:
        """A channel to a node. Raises ``ClusterError`` when that node must not be called.

        Channels of one process share a connection to a node, except those that are ``apart``.
        """
        ...

    def explain(self, peer: Peer) -> ClusterError | None:
        """Why a call to a node failed that gRPC calls unavailable, where there is more to say."""
        ...

    def found(self, peer: Peer) -> Peer:
        """The node with the address first at which it was reached the last time."""
        ...


class PlainDialer:
    """No encryption and nobody's identity checked: for this machine alone.

    With ``beyond_loopback`` it also calls other machines, which only ``--insecure`` asks for.
    """

    def __init__(
        self, beyond_loopback: bool = False, cluster: str = settings.DEFAULT_CLUSTER
    ) -> None:
        self._beyond_loopback = beyond_loopback
        self._reached = Reached()
        self._cluster = cluster

    def connect(self, peer: Peer, apart: bool = False) -> grpc.Channel:
        """Raises ``ClusterError`` for another machine, unless that was asked for.

        Of several addresses it takes the first at which somebody answers.
        """
        allowed = [one for one in peer.addresses if self._beyond_loopback or is_loopback(one)]
        if not allowed:
            raise AccessError(
                f"{peer.label} is not on this machine, and this user has no certificates for this "
                f"cluster: make them with `{command(self._cluster, 'init')}`, or give --insecure "
                "if everyone on this network may use the nodes and read along"
            )
        address = self._reached.at(peer, apart)
        if address is None and peer.node_id and not is_loopback(peer.address):
            address = next(accepting(allowed, settings.CONNECT_TIMEOUT_S), None)
            if address is None:
                raise unreachable(peer)
            self._reached.note(peer, address)
        return grpc.insecure_channel(address or allowed[0], options=client_options(apart))

    def found(self, peer: Peer) -> Peer:
        """The node with the address first that answered."""
        return self._reached.first(peer)

    def explain(self, peer: Peer) -> ClusterError | None:
        """Whether the node wanted TLS."""
        from pi_cluster.cluster.wire.handshake import shown_certificate

        found = self.found(peer)
        self._reached.forget(peer)
        try:
            shown = shown_certificate(found, settings.EXPLAIN_TIMEOUT_S)
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

"""How a node is called: in the clear on this machine, with mutual TLS everywhere else."""

from typing import Protocol

import grpc

from cluster import wire
from cluster.errors import ClusterError
from cluster.peer import Peer, is_loopback


class Dialer(Protocol):
    """Opens channels to nodes."""

    def connect(self, peer: Peer) -> grpc.Channel:
        """A channel to a node; nothing is sent before the first call."""
        ...


class PlainDialer:
    """No encryption and nobody's identity checked: for this machine alone.

    With ``beyond_loopback`` it also calls other machines, which only ``--insecure`` asks for.
    """

    def __init__(self, beyond_loopback: bool = False) -> None:
        self._beyond_loopback = beyond_loopback

    def connect(self, peer: Peer) -> grpc.Channel:
        """Raises ``ClusterError`` for another machine, unless that was asked for."""
        if not self._beyond_loopback and not is_loopback(peer.address):
            raise ClusterError(
                f"{peer.label} is not on this machine, and this cluster has no certificates: make "
                "them with `pi-cluster init`, or give --insecure if everyone on this network may "
                "use the nodes and read along"
            )
        return grpc.insecure_channel(peer.address, options=wire.CLIENT_OPTIONS)

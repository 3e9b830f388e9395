"""How a node is called: in the clear on this machine, with mutual TLS everywhere else."""

import threading
import time
from typing import Protocol

import grpc

from pi_cluster.cluster import settings
from pi_cluster.cluster.advice import command
from pi_cluster.cluster.errors import AccessError, ClusterError, NodeLost
from pi_cluster.cluster.trust.certificates import server_name
from pi_cluster.cluster.trust.credentials import Credentials, LiveCredentials
from pi_cluster.cluster.wire.handshake import shown_certificate, unreachable, who_answers
from pi_cluster.cluster.wire.options import CLIENT_OPTIONS
from pi_cluster.cluster.wire.peer import Peer, is_loopback
from pi_cluster.cluster.wire.probing import accepting, ways_to

_APART = ("grpc.use_local_subchannel_pool", 1)
_MAX_REMEMBERED = 1_000
_SURE_S = 1.0  # what was reached so recently is there
_STILL_THERE_S = 2.0  # of which a lost packet costs one


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
        self._reached = _Reached()
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
        return grpc.insecure_channel(address or allowed[0], options=_options(apart))

    def found(self, peer: Peer) -> Peer:
        """The node with the address first that answered."""
        return self._reached.first(peer)

    def explain(self, peer: Peer) -> ClusterError | None:
        """Whether the node wanted TLS."""
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
        self._reached = _Reached()

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
        return grpc.secure_channel(address, channel_credentials, options=[*_options(apart), name])

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


def _options(apart: bool) -> list[tuple[str, int]]:
    return [*CLIENT_OPTIONS, _APART] if apart else CLIENT_OPTIONS


class _Reached:
    """At which address each node was reached, and when; used from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._addresses: dict[Peer, tuple[str, float]] = {}

    def at(self, peer: Peer, apart: bool) -> str | None:
        """Where to call it; None if it is to be looked for.

        Whoever asks apart from others asks whether the node is there, and may not wait for a look.
        """
        if not apart:
            return self.still(peer)
        with self._lock:
            return self._addresses.get(peer, (None, 0.0))[0]

    def still(self, peer: Peer) -> str | None:
        """Where it was reached and somebody still accepts connections; None if it is nowhere.

        gRPC would go on trying an address that a router has taken from the node meanwhile.
        """
        with self._lock:
            address, since = self._addresses.get(peer, (None, 0.0))
        if address is None or time.monotonic() - since < _SURE_S:
            return address
        if next(accepting([address], _STILL_THERE_S), None) is None:
            self.forget(peer)
            return None
        self.note(peer, address)
        return address

    def first(self, peer: Peer) -> Peer:
        """The node with that address first."""
        with self._lock:
            address, _ = self._addresses.get(peer, (None, 0.0))
        if address is None or address == peer.address:
            return peer
        return peer.at([address, *(one for one in peer.addresses if one != address)])

    def note(self, peer: Peer, address: str) -> None:
        """It was reached there."""
        with self._lock:
            if peer in self._addresses or len(self._addresses) < _MAX_REMEMBERED:
                self._addresses[peer] = address, time.monotonic()

    def forget(self, peer: Peer) -> None:
        """It is to be looked for anew."""
        with self._lock:
            self._addresses.pop(peer, None)

    def clear(self) -> None:
        """All are to be looked for anew."""
        with self._lock:
            self._addresses.clear()


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

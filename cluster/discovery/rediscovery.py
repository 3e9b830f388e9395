"""A node that is not where it was: looked for by its id, for whoever calls it.

A pipeline's nodes are called at the addresses that `up` found. When a router has given one of them
another since, what it announces now is tried, before anybody hears of a failure.
"""

import contextlib
import threading
import time

import grpc

from pi_cluster.cluster import settings
from pi_cluster.cluster.errors import AccessError, ClusterError, NodeLost
from pi_cluster.cluster.wire.addresses import as_seen_from
from pi_cluster.cluster.wire.dialing import Dialer
from pi_cluster.cluster.wire.interfaces import own_interfaces
from pi_cluster.cluster.wire.peer import Peer, is_loopback

_AGAIN_AFTER_S = 20.0  # a node that is switched off must not make each question slower
_MOST_MOVED = 1_000


class Rediscovering:
    """A dialer that listens to mDNS, once in a while, when a node with a known id is not reached.

    Who answers at the new address is checked as always: by ``dialer``.
    """

    def __init__(self, dialer: Dialer, cluster: str) -> None:
        self._dialer = dialer
        self._cluster = cluster
        self._listening = threading.Lock()
        self._heard: dict[str, Peer] = {}
        self._not_before: dict[str, float] = {}
        self._moved: dict[Peer, Peer] = {}

    def connect(self, peer: Peer, apart: bool = False) -> grpc.Channel:
        """As the dialer's, at the node's new address if it is not at an old one."""
        try:
            return self._dialer.connect(self._now(peer), apart)
        except (NodeLost, AccessError):
            elsewhere = self._elsewhere(peer)
            if elsewhere is None:
                raise
            # What is wrong at the old address says more than a failure at one that was announced.
            with contextlib.suppress(ClusterError):
                channel = self._dialer.connect(elsewhere, apart)
                if len(self._moved) < _MOST_MOVED:
                    self._moved[peer] = elsewhere
                return channel
            raise

    def found(self, peer: Peer) -> Peer:
        """The node with the address first at which it was reached the last time."""
        return self._dialer.found(self._now(peer))

    def explain(self, peer: Peer) -> ClusterError | None:
        """As the dialer's; where the node was found is forgotten."""
        now = self._now(peer)
        self._moved.pop(peer, None)
        return self._dialer.explain(now)

    def _now(self, peer: Peer) -> Peer:
        return self._moved.get(peer, peer)

    def _elsewhere(self, peer: Peer) -> Peer | None:
        """The node at addresses that it announces and that ``peer`` does not have."""
        if not peer.node_id or all(map(is_loopback, peer.addresses)):
            return None
        with self._listening:
            if time.monotonic() >= self._not_before.get(peer.node_id, 0.0):
                self._listen(peer.node_id)
            heard = self._heard.get(peer.node_id)
        fresh = [one for one in heard.addresses if one not in peer.addresses] if heard else []
        return as_seen_from(peer.at(fresh), own_interfaces()) if fresh else None

    def _listen(self, node_id: str) -> None:
        """Hear where the node is, and whoever else is there: nodes often move together."""
        from pi_cluster.cluster.discovery import mdns

        try:
            heard = mdns.listen(self._cluster, settings.DISCOVERY_S, [node_id])
        except ClusterError:
            return  # without mDNS the first failure stands
        finally:
            self._not_before[node_id] = time.monotonic() + _AGAIN_AFTER_S
        members = [peer for peer in [*heard.departed, *heard.peers] if not peer.joining]
        self._heard |= {peer.node_id: peer for peer in members}

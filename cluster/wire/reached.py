"""Where nodes were reached the last time."""

import threading
import time

from pi_cluster.cluster.wire.peer import Peer
from pi_cluster.cluster.wire.probing import accepting

_MAX_REMEMBERED = 1_000
_SURE_S = 1.0  # what was reached so recently is there
_STILL_THERE_S = 2.0  # of which a lost packet costs one


class Reached:
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

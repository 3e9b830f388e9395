"""At which of several addresses somebody accepts connections, and what to say where nobody does."""

import contextlib
import selectors
import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pi_cluster.cluster.errors import ClusterError, NodeLost
from pi_cluster.cluster.wire.peer import Peer, split_address

_Place = tuple[Any, ...]  # as ``socket.getaddrinfo`` has it

HEAD_START_S = 0.3  # of each address before the next one: a radio that wakes up takes a tenth


def accepting(addresses: Sequence[str], timeout_s: float) -> Iterator[str]:
    """Those of ``addresses`` at which somebody accepts a connection, as soon as each does.

    They are tried in this order, each with a head start, so that an address which leads nowhere
    costs a moment (as in RFC 8305). Ends when all have answered or refused, ``timeout_s`` after
    the last was begun at the latest. Names take as long as the system's resolver does.
    """
    waiting = [(address, place) for address in addresses for place in _places(address)]
    with contextlib.ExitStack() as open_sockets, selectors.DefaultSelector() as selector:
        while waiting or selector.get_map():
            patience_s = timeout_s
            if waiting:
                address, place = waiting.pop(0)
                if begun := _begun(place):
                    open_sockets.callback(begun.close)
                    selector.register(begun, selectors.EVENT_WRITE, address)
                patience_s = HEAD_START_S if waiting else timeout_s
            until = time.monotonic() + patience_s
            while selector.get_map() and (left_s := until - time.monotonic()) > 0:
                for key, _ in selector.select(left_s):
                    selector.unregister(key.fileobj)
                    assert isinstance(key.fileobj, socket.socket)
                    if not key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                        yield key.data
            if not waiting:
                return


def refuse(addresses: Sequence[str], timeout_s: float) -> bool:
    """Whether nobody listens at any of ``addresses``, and at least one host says so itself."""
    refused = False
    until = time.monotonic() + timeout_s
    for family, kind, protocol, _, where in (one for name in addresses for one in _places(name)):
        with socket.socket(family, kind, protocol) as trying:
            trying.settimeout(max(0.01, until - time.monotonic()))
            try:
                trying.connect(where)
            except ConnectionRefusedError:
                refused = True
            except OSError:
                continue
            else:
                return False
    return refused


def ways_to(peer: Peer, timeout_s: float) -> Iterable[str]:
    """The addresses of a node that are worth a handshake: those that accept, if it has several."""
    return accepting(peer.addresses, timeout_s) if peer.others else [peer.address]


def unreachable(peer: Peer) -> NodeLost:
    """That nobody accepts a connection at any of a node's addresses."""
    return lost(peer, f"no reply at {', '.join(peer.addresses)}")


def lost(peer: Peer, reason: str) -> NodeLost:
    """That a node does not answer, and why."""
    return NodeLost(f"{peer.label} does not answer ({reason}): see whether its worker runs")


def _places(address: str) -> list[_Place]:
    """What the system makes of ``host:port``; nothing where that is none."""
    try:
        host, port = split_address(address)
        return socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    except (ClusterError, OSError, UnicodeError):
        return []


def _begun(place: _Place) -> socket.socket | None:
    """A socket that is connecting; None where that cannot even begin."""
    family, kind, protocol, _, where = place
    begun = socket.socket(family, kind, protocol)
    begun.setblocking(False)
    try:
        begun.connect(where)
    except BlockingIOError:
        pass
    except OSError:
        begun.close()
        return None
    return begun

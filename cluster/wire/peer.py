"""Where a node is, and what is known of who it is."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from pi_cluster.cluster import settings
from pi_cluster.cluster.errors import ClusterError, NodeError
from pi_cluster.cluster.shown import shown_line

MOST_ADDRESSES = 16  # of one node
_MAX_ADDRESS = 262  # a host name of 255 characters, a colon and a port
_MAX_CHARACTERS = 300  # of anything that is shown of a node
_PORT_DIGITS = 5


@dataclass(frozen=True, slots=True)
class Peer:
    """A node to call: one that announced itself, that was named by hand, or that serves a stage."""

    address: str
    """``host:port``"""
    node_id: str = ""
    """Empty while it is not known."""
    name: str = ""
    joining: str = ""
    """Id of the token by which it waits to join; empty for a node that has joined."""
    others: tuple[str, ...] = ()
    """Further addresses, tried in this order where ``address`` does not lead to the node."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """All of them, in the order in which they are tried."""
        return (self.address, *self.others)

    def at(self, addresses: Sequence[str]) -> Self:
        """The same node at other addresses, of which there is at least one."""
        return replace(self, address=addresses[0], others=tuple(addresses[1:]))

    def __post_init__(self) -> None:
        # Anybody may announce anything, and all of it ends up in messages.
        for field in ("address", "node_id", "name", "joining"):
            object.__setattr__(self, field, _shown(getattr(self, field)))
        object.__setattr__(self, "others", tuple(map(_shown, self.others[:MOST_ADDRESSES])))

    @property
    def label(self) -> str:
        """Name and address, for messages."""
        return f"{self.name} ({self.address})" if self.name else self.address


def parse_nodes(text: str) -> list[Peer]:
    """A static list, ``host:port,host:port``; a port may be left out where it is the usual one.

    Raises ``ClusterError`` naming the entry that is none, or that stands there twice.
    """
    pairs = [split_address(part.strip(), settings.DEFAULT_PORT) for part in text.split(",")]
    peers = [Peer(f"{host}:{port}") for host, port in pairs]
    addresses = [peer.address for peer in peers]
    for address in addresses:
        if addresses.count(address) > 1:
            raise ClusterError(f"--nodes names {address} twice")
    return peers


def split_address(text: str, default_port: int | None = None) -> tuple[str, int]:
    """``host:port`` in two. Raises ``ClusterError`` when it is not one.

    A host that is an IPv6 address stands in brackets, as in ``[fe80::1]:7711``.
    """
    host, colon, port_text = text.rpartition(":")
    if default_port is not None and (not colon or (text.endswith("]") and text.startswith("["))):
        host, port_text = text, str(default_port)
    bracketed = host.startswith("[") and host.endswith("]")
    is_number = port_text.isascii() and port_text.isdigit() and len(port_text) <= _PORT_DIGITS
    if not host or not is_number or int(port_text) > 65535 or (":" in host and not bracketed):
        raise ClusterError(f"{text!r} is not HOST:PORT, as in pi1.local:7711")
    return host, int(port_text)


def told_peer(address: str, others: Sequence[str], node_id: str, name: str = "") -> Peer:
    """A node as another machine tells of it. Raises ``ClusterError``: more or other than addresses.

    Where its addresses lead from here, ``cluster/wire/addresses.py`` finds out.
    """
    if len(others) >= MOST_ADDRESSES:
        raise NodeError(f"no node has {1 + len(others)} addresses: at most {MOST_ADDRESSES}")
    for one in (address, *others):
        check_address(one)
    return Peer(address, node_id, name, others=tuple(others))


def check_address(text: str) -> None:
    """Raise ``ClusterError`` unless ``text``, from another machine, is ``host:port``."""
    if len(text) > _MAX_ADDRESS:
        raise NodeError(f"an address of {len(text)} characters is none")
    split_address(text)


def bracketed(host: str) -> str:
    """A host as it stands before a port: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


def is_loopback(address: str) -> bool:
    """Whether nobody but this machine is reached at ``host:port``."""
    host, _ = split_address(address)
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _shown(text: str) -> str:
    return shown_line(text)[:_MAX_CHARACTERS]

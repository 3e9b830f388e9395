"""By which names this machine may be called.

A page of a stranger can have its own name lead to a private address (DNS rebinding), and then its
requests are of the same origin. What it cannot do is take another name than its own, so names that
no stranger owns are let in, and others when they are allowed by name.
"""

import ipaddress
import socket
from collections.abc import Iterable
from functools import lru_cache

_LOCAL_SUFFIXES = (".localhost", ".local", ".internal", ".home.arpa", ".lan")
_KNOWN = 256  # pairs of what was asked for and where it arrived


class HostNames:
    """The names and addresses that requests may be for."""

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        """``allowed`` beside this machine's own; ``.example.org`` stands for all names below it."""
        names = {"localhost", socket.gethostname().lower()}
        allowed = [name.lower().rstrip(".") for name in allowed]
        self._names = frozenset(names.union(one for one in allowed if not one.startswith(".")))
        self._suffixes = (*_LOCAL_SUFFIXES, *(one for one in allowed if one.startswith(".")))
        self.admits = lru_cache(_KNOWN)(self._admits)
        """Whether a ``Host`` is one of them, in a request that came to the address ``arrived``."""

    def _admits(self, host: str, arrived: str) -> bool:
        name = name_of(host)
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return name in self._names or name.endswith(self._suffixes)
        is_near = address.is_private or address.is_loopback or address.is_link_local
        return is_near or name == arrived or name in self._names


def name_of(host: str) -> str:
    """The name or address in a ``Host``, without port, in small letters; empty for neither."""
    if host.startswith("["):
        address, _, port = host[1:].partition("]")
        return address.lower() if not port or port.startswith(":") else ""
    return host.partition(":")[0].lower().rstrip(".")


def is_same_origin(origin: str, host: str) -> bool:
    """Whether an ``Origin`` is that of a page which came from ``host``.

    The scheme is not compared: a proxy before us may speak TLS.
    """
    scheme, separator, netloc = origin.lower().partition("://")
    if not separator or scheme not in ("http", "https"):
        return False
    port = ":443" if scheme == "https" else ":80"
    return netloc.removesuffix(port) == host.lower().removesuffix(port)

"""Which of a host's addresses this machine reaches: SSH may have come by an alias or a proxy."""

import ipaddress
import socket
from collections.abc import Sequence

_PATIENCE_S = 1.0


def reachable(addresses: Sequence[str], port: int) -> str | None:
    """``address:port`` of the first at which somebody accepts connections, or None."""
    for address in addresses:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            continue
        # Workers listen on IPv4, and loopback would be this machine's own.
        if parsed.version != 4 or parsed.is_loopback:
            continue
        try:
            with socket.create_connection((address, port), _PATIENCE_S):
                return f"{address}:{port}"
        except OSError:
            continue
    return None

"""Which of a host's addresses this machine reaches: SSH may have come by an alias or a proxy."""

import ipaddress
import socket
from collections.abc import Sequence

from pi_cluster.cluster.wire.peer import bracketed

_PATIENCE_S = 1.0


def reachable(addresses: Sequence[str], port: int) -> str | None:
    """``address:port`` of the first at which somebody accepts connections, or None."""
    for address in addresses:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            continue
        # Loopback would be this machine's own, and a link-local address lacks the name of its link.
        if parsed.is_loopback or (parsed.version == 6 and parsed.is_link_local):
            continue
        try:
            with socket.create_connection((address, port), _PATIENCE_S):
                return f"{bracketed(address)}:{port}"
        except OSError:
            continue
    return None

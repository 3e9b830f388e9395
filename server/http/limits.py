"""How much, and for how long, a client may take up of a server."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What a well-behaved client never meets."""

    headers_s: float = 10.0  # from a connection's first byte, or its beginning, to a whole request
    body_s: float = 30.0  # 8 MiB over slow Wi-Fi
    bodies_bytes: int = 64 << 20  # of all requests at once: 512 times 8 MiB are more than a Pi has
    unread_s: float = 60.0  # a phone changes from Wi-Fi to its provider in less
    idle_s: float = 75.0  # longer than clients keep a connection that they mean to use again
    connections: int = 512  # half of the 1024 files that a process may have open
    stop_s: float = 3.0  # for answers to say that they end, when the server does


DEFAULTS = Limits()

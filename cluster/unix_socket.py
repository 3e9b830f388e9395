"""Sockets in the file system, wherever they lie: a path may be longer than such a name."""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

_MOST_NAME_BYTES = 103  # macOS takes so many, Linux four more


def bind(listener: socket.socket, path: Path) -> None:
    """Give a unix socket its name. Raises ``OSError`` as the system does."""
    with _short_name(path) as name:
        listener.bind(name)


def connect(path: Path, timeout_s: float) -> socket.socket:
    """A connection to whoever listens at ``path``. Raises ``OSError`` as the system does."""
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        client.settimeout(timeout_s)
        with _short_name(path) as name:
            client.connect(name)
    except OSError:
        client.close()
        raise
    return client


@contextlib.contextmanager
def _short_name(path: Path) -> Iterator[str]:
    """A name that is short enough, as long as the block lasts."""
    if len(os.fsencode(path)) <= _MOST_NAME_BYTES:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"  # where there is none, the system says so
    finally:
        os.close(folder)

"""The door for this machine's user: a socket that the file system guards, so that no key is needed.

A server holds a lock as long as it runs. It ends with the process, whatever ends that, so that the
socket of a server that was killed is known to be nobody's.
"""

import fcntl
import os
import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Self

from pi_cluster.cluster import settings, unix_socket
from pi_cluster.cluster.errors import ClusterError, StateError
from pi_cluster.cluster.system_failure import system_failure
from pi_cluster.cluster.version import VERSION
from pi_cluster.coordinator.records.server_record import (
    LOCK_NAME,
    ServerRecord,
    find_server,
    forget_server,
    save_server,
    socket_file,
)

_BACKLOG = 256


class LocalDoor:
    """The socket of the one server that a cluster may have here, and the record beside it."""

    def __init__(self, cluster: str) -> None:
        self.cluster = cluster
        self._entered = ExitStack()

    @property
    def listener(self) -> socket.socket:
        """The socket, which listens."""
        return self._listener

    def announce(self, url: str, addresses: Sequence[str], *, needs_key: bool) -> None:
        """Tell other commands of this machine where the server is."""
        record = ServerRecord(os.getpid(), url, tuple(addresses), VERSION, needs_key, time.time())
        save_server(self.cluster, record)
        self._entered.callback(forget_server, self.cluster)

    def __enter__(self) -> Self:
        """Raises ``StateError`` while another server of the cluster runs here."""
        with ExitStack() as entered:
            try:
                self._open(entered)
            except OSError as error:
                raise system_failure(error, what=socket_file(self.cluster)) from None
            self._entered = entered.pop_all()
        return self

    def __exit__(self, *failure: object) -> None:
        self._entered.close()

    def _open(self, entered: ExitStack) -> None:
        folder = settings.cluster_state(self.cluster)
        folder.mkdir(parents=True, exist_ok=True)
        lock = entered.enter_context((folder / LOCK_NAME).open("a"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StateError(_other_server(self.cluster)) from None
        path = socket_file(self.cluster)
        path.unlink(missing_ok=True)  # of one that was killed
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener = entered.enter_context(listener)
        unix_socket.bind(listener, path)
        entered.callback(path.unlink, missing_ok=True)
        path.chmod(0o600)  # nobody can connect before it listens
        listener.listen(_BACKLOG)


def _other_server(cluster: str) -> str:
    try:
        other = find_server(cluster)
    except ClusterError:
        other = None
    known = f": process {other.pid}, {other.url}" if other else ""
    return (
        f"a server of cluster {cluster!r} runs on this machine already{known}; use it, or end it "
        "first"
    )

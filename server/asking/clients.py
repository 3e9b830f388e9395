"""Whom a server asks: the client of the model that is up, and those of models before it."""

import threading
from collections.abc import Callable

from pi_cluster.cluster.errors import StateError
from pi_cluster.coordinator.client import PipelineClient
from pi_cluster.coordinator.records.kept_record import load_record, record_file


class Clients:
    """The client of the model that is up now, made anew when another one is.

    A client is closed when nobody uses it any more. Any thread may use this.
    """

    def __init__(self, client: PipelineClient, renew: Callable[[], PipelineClient]) -> None:
        """``renew`` makes the client of another model; all are closed by this, the first too."""
        self._renew = renew
        self._is_closed = False
        self._lock = threading.Lock()
        self._now = client
        self._users: dict[PipelineClient, int] = {client: 0}
        self._written = _when_written(client.cluster)

    @property
    def now(self) -> PipelineClient:
        """The client of the model that is up now; while none is, that of the last one."""
        with self._lock:
            self._look()
            return self._now

    def take(self) -> PipelineClient:
        """The client of the model that is up now, until it is given back.

        One that is not stays open until the end. While none is up it is that of the last one.
        """
        with self._lock:
            self._look()
            self._users[self._now] += 1
            return self._now

    def give_back(self, client: PipelineClient) -> None:
        """It is not used any more by who took it."""
        with self._lock:
            self._users[client] -= 1
            self._close_unused()

    def close(self) -> None:
        """Close all, and make no more."""
        with self._lock:
            self._is_closed = True
            for client in self._users:
                client.close()

    def _look(self) -> None:
        written = _when_written(self._now.cluster)
        if self._is_closed or written is None or written == self._written:
            return
        try:
            digest = load_record(self._now.cluster).manifest.digest
        except StateError:  # whoever asks is told so
            return
        if digest != self._now.digest:
            self._now = self._renew()
            self._users[self._now] = 0
            self._close_unused()
        self._written = written

    def _close_unused(self) -> None:
        unused = [c for c, users in self._users.items() if not users and c is not self._now]
        for client in unused:
            del self._users[client]
            client.close()


def _when_written(cluster: str) -> tuple[int, int] | None:
    """What differs after each `up`, without reading the record; None when there is none."""
    try:
        found = record_file(cluster).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns

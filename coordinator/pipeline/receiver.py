"""A node that lacks shards: brought to it through broken connections, restarts and power cuts."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from pi_cluster.cluster.errors import AccessError, NodeError, NodeLost, ShardChanged
from pi_cluster.cluster.store.manifest import ShardFile
from pi_cluster.cluster.wire.client import FoundShards, NodeClient
from pi_cluster.cluster.wire.dialing import Dialer
from pi_cluster.cluster.wire.peer import Peer
from pi_cluster.coordinator.pipeline.nodes import Node
from pi_cluster.coordinator.pipeline.open_clients import OpenClients

PATIENCE_S = 30.0  # a node that does not answer for longer is lost
_RETRY_S = 0.5
_FRUITLESS_TRIES = 10  # in a row, of a node that answers and yet receives nothing

_Answer = TypeVar("_Answer")


class TransferProgress(Protocol):
    """Told how the shards travel; called from several threads."""

    def begin(self, node: Peer, received_bytes: int, total_bytes: int) -> None:
        """A node lacks something of its shards; of those it has this much already."""
        ...

    def update(self, node: Peer, received_bytes: int) -> None:
        """So much of them has come; less than before after a broken connection."""
        ...

    def end(self, node: Peer) -> None:
        """It has all of them."""
        ...


class _Patience:
    """With a node that breaks off: it must answer now and then, and have more than before."""

    def __init__(self) -> None:
        self._answered = time.monotonic()
        self._most_bytes = -1
        self._tries_left = _FRUITLESS_TRIES

    @property
    def is_over(self) -> bool:
        return not self._tries_left or time.monotonic() - self._answered > PATIENCE_S

    @contextlib.contextmanager
    def for_attempt(self, offset: int) -> Iterator[None]:
        """While the block runs, the node, which has ``offset`` bytes of a shard, gets more."""
        fruitful = offset > self._most_bytes
        self._tries_left = _FRUITLESS_TRIES if fruitful else self._tries_left - 1
        self._most_bytes = max(self._most_bytes, offset)
        try:
            yield
        finally:
            self._answered = time.monotonic()


class Receiver:
    """Brings shards to one node and knows how many bytes of them it has."""

    def __init__(
        self, node: Node, files: Sequence[ShardFile], dialer: Dialer, progress: TransferProgress
    ) -> None:
        """``files`` are all that the node is to hold."""
        self.node = node
        self.sent_bytes = 0
        self.fetched_bytes = 0
        self._files = files
        self._progress = progress
        self._lock = threading.Lock()
        self._received: dict[str, int] = {}
        self._lacking: list[ShardFile] = []
        self._stopped = threading.Event()
        self._clients = OpenClients(dialer)

    def held_of(self, files: Sequence[ShardFile]) -> frozenset[str]:
        """Digests of those of ``files`` that the node holds."""
        return self._insist(lambda client, _: client.find_shards(files).held)

    def prepare(self) -> list[ShardFile]:
        """What the node lacks. Raises ``NodeError`` when its disk has no room for that."""

        def ask(client: NodeClient, _: _Patience) -> tuple[FoundShards, int]:
            return client.find_shards(self._files), client.describe().free_disk_bytes

        found, free_bytes = self._insist(ask)
        lacking = [file for file in self._files if file.sha256 not in found.held]
        there = sum(found.partial.get(file.sha256, 0) for file in lacking)
        total = sum(file.size_bytes for file in lacking)
        if total - there > free_bytes:
            raise NodeError(
                f"{self.node.label} needs {total - there} bytes for its shards and has "
                f"{free_bytes} bytes of disk to spare: free some space there"
            )
        self._lacking = lacking
        self._received = {file.sha256: found.partial.get(file.sha256, 0) for file in lacking}
        if lacking:
            self._progress.begin(self.node.peer, there, total)
        return sorted(lacking, key=lambda file: -self._received[file.sha256])

    def send(self, file: ShardFile, path: Path) -> None:
        """Send a shard from here. Raises as ``NodeClient.put_shard``."""

        def attempt(client: NodeClient, offset: int) -> None:
            def on_sent(count: int) -> None:
                self.sent_bytes += count
                self._note(file, self._received[file.sha256] + count)

            try:
                client.put_shard(file, path, offset, on_sent)
            except ShardChanged:
                if not offset:
                    raise
                # The part that was there may be what is wrong; the node has dropped it.
                self._note(file, 0)
                client.put_shard(file, path, 0, on_sent)

        self._bring(file, attempt)

    def fetch(self, file: ShardFile, source: Peer) -> None:
        """Have the node get a shard from another one. Raises as ``NodeClient.fetch_shard``."""

        def attempt(client: NodeClient, _: int) -> None:
            def on_received(count: int) -> None:
                self.fetched_bytes += max(0, count - self._received[file.sha256])
                self._note(file, count)

            client.fetch_shard(file, source, on_received)

        self._bring(file, attempt)

    def stop(self) -> None:
        """Break off what is under way."""
        self._stopped.set()
        self._clients.stop()

    def _bring(self, file: ShardFile, attempt: Callable[[NodeClient, int], None]) -> None:
        """Try until the node has the shard, from where it stands."""

        def work(client: NodeClient, patience: _Patience) -> None:
            offset = self._look(client, file)
            if offset is not None:
                with patience.for_attempt(offset):
                    attempt(client, offset)
            self._note(file, file.size_bytes)

        self._insist(work)

    def _insist(self, work: Callable[[NodeClient, _Patience], _Answer]) -> _Answer:
        """Try until the node does not break off ``work``; raises ``NodeLost`` in the end.

        Only a lost connection is tried again, which a handshake that ends early looks like too;
        whatever the node itself refuses, it would refuse again.
        """
        patience = _Patience()
        while True:
            try:
                with self._clients.client(self.node.peer) as client:
                    return work(client, patience)
            except (NodeLost, AccessError):
                if patience.is_over:
                    raise
            if self._stopped.wait(_RETRY_S):
                raise NodeError("the transfer was broken off")

    def _look(self, client: NodeClient, file: ShardFile) -> int | None:
        """How many bytes of the file the node has; None when it has all, and has checked them."""
        found: FoundShards = client.find_shards(self._files)
        if file.sha256 in found.held:
            return None
        offset = found.partial.get(file.sha256, 0)
        self._note(file, offset)
        return offset

    def tell_end(self) -> None:
        """All that the node lacked has arrived."""
        if self._lacking:
            self._progress.end(self.node.peer)

    def _note(self, file: ShardFile, received_bytes: int) -> None:
        with self._lock:
            self._received[file.sha256] = received_bytes
            self._progress.update(self.node.peer, sum(self._received.values()))

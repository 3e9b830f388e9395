"""Shards that come and go: from the operator, to another node, from another node."""

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait

from pi_cluster.cluster import settings
from pi_cluster.cluster.errors import ClusterError, NodeError
from pi_cluster.cluster.store.manifest import MAX_FILES, ShardFile
from pi_cluster.cluster.wire.client import NodeClient
from pi_cluster.cluster.wire.dialing import Dialer
from pi_cluster.cluster.wire.peer import Peer
from pi_cluster.protos import pi_cluster_pb2 as pb
from pi_cluster.worker.shards.vault import ShardVault

_AT_ONCE = 8  # of the worker's calls; the others stay free for sessions and questions
_SLOT_S = 5.0  # those who are lost are noticed sooner
_TELL_S = 0.25  # how often whoever has a node fetch hears from it


class ShardTransfers:
    """Moves shards between the vault and the network, a bounded number at a time."""

    def __init__(self, vault: ShardVault, dialer: Dialer) -> None:
        self._vault = vault
        self._dialer = dialer
        self._slots = threading.BoundedSemaphore(_AT_ONCE)

    def find(self, request: pb.FindShardsRequest) -> pb.FindShardsReply:
        """What is here of some shards."""
        if len(request.sha256) > MAX_FILES:
            raise NodeError(f"no store has {len(request.sha256)} files")
        held, partial = self._vault.find(request.sha256)
        begun = [pb.PartialShard(sha256=d, received_bytes=size) for d, size in partial.items()]
        return pb.FindShardsReply(held=held, partial=begun)

    def put(self, parts: Iterator[pb.ShardPart]) -> None:
        """Receive one shard, or the rest of one."""
        header = next(parts, None)
        if header is None:
            raise NodeError("a shard came without a header")
        data = _checked(part.data for part in itertools.chain([header], parts))
        with self._slot():
            self._vault.receive(header.sha256, header.size_bytes, header.offset_bytes, data)

    def get(self, request: pb.GetShardRequest) -> Iterator[pb.ShardPart]:
        """Send a shard that is here."""
        part_bytes = settings.SHARD_PART_BYTES
        with (
            self._slot(),
            self._vault.reading(request.sha256, request.offset_bytes, part_bytes) as outgoing,
        ):
            yield pb.ShardPart(
                sha256=request.sha256,
                size_bytes=outgoing.size_bytes,
                offset_bytes=request.offset_bytes,
            )
            for data in outgoing.parts:
                yield pb.ShardPart(data=data)

    def fetch(
        self,
        request: pb.FetchShardRequest,
        source: Peer,
        on_end: Callable[[Callable[[], None]], bool],
    ) -> Iterator[pb.FetchShardReply]:
        """Get a shard, or the rest of one, from another node; tells how much of it is here.

        ``on_end`` takes what is to be done when whoever asked has gone.
        """
        received = _Received()
        with (
            self._slot(),
            ThreadPoolExecutor(1, "fetch") as pool,
            self._client(source) as client,
        ):
            if not on_end(client.close):
                return
            fetching = pool.submit(self._fetch, request, client, received)
            while not fetching.done():
                wait([fetching], _TELL_S)
                yield pb.FetchShardReply(received_bytes=received.bytes)
            fetching.result()
        yield pb.FetchShardReply(received_bytes=request.size_bytes)

    def fetch_from(
        self, source: Peer, file: ShardFile, on_end: Callable[[Callable[[], None]], bool]
    ) -> None:
        """Get a shard, or the rest of one, from another node; ``on_end`` as in :meth:`fetch`.

        Raises ``NodeError`` when the node has none, ``StoreError`` when its bytes are wrong or the
        disk does not take them.
        """
        request = pb.FetchShardRequest(sha256=file.sha256, size_bytes=file.size_bytes)
        with self._slot(), self._client(source) as client:
            if not on_end(client.close):
                raise NodeError("nobody waits for the shard any more")
            self._fetch(request, client, _Received())

    def _client(self, source: Peer) -> NodeClient:
        try:
            return NodeClient(source, self._dialer)
        except ClusterError as error:
            raise _not_sent(source.label, error) from None

    def _fetch(
        self, request: pb.FetchShardRequest, source: NodeClient, received: "_Received"
    ) -> None:
        digest, size_bytes = request.sha256, request.size_bytes
        with self._vault.receiving(digest, size_bytes, None) as arrival:
            if arrival is None:
                return
            received.bytes = arrival.received_bytes
            for part in _checked(_handed_on(source, digest, size_bytes, arrival.received_bytes)):
                arrival.write(part)
                received.bytes = arrival.received_bytes

    @contextlib.contextmanager
    def _slot(self) -> Iterator[None]:
        if not self._slots.acquire(timeout=_SLOT_S):
            raise NodeError(f"{_AT_ONCE} shards come and go here already: try again later")
        try:
            yield
        finally:
            self._slots.release()


class _Received:
    """How far a fetch is, told from its thread to the call's."""

    bytes = 0


def _handed_on(source: NodeClient, digest: str, size_bytes: int, offset: int) -> Iterator[bytes]:
    try:
        yield from source.get_shard(digest, size_bytes, offset)
    except ClusterError as error:
        raise _not_sent(source.label, error) from None


def _not_sent(source: str, error: ClusterError) -> NodeError:
    # As it stands a lost source would look like this node being lost.
    return NodeError(f"{source} did not send a shard: {error}")


def _checked(parts: Iterable[bytes]) -> Iterator[bytes]:
    for part in parts:
        if len(part) > settings.MAX_SHARD_PART_BYTES:
            raise NodeError(
                f"a part of a shard has {len(part)} bytes; at most "
                f"{settings.MAX_SHARD_PART_BYTES} are taken"
            )
        yield part

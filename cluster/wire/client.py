"""One node, as whoever calls it sees it: its methods, with failures as our own errors."""

import contextlib
import functools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

import grpc

from pi_cluster.cluster import settings
from pi_cluster.cluster.advice import line
from pi_cluster.cluster.errors import NodeError, NodeLost, StoreError
from pi_cluster.cluster.speed import Link, NodeProfile, Speed
from pi_cluster.cluster.store.manifest import ShardFile
from pi_cluster.cluster.trust.issued import Certification
from pi_cluster.cluster.wire.addresses import for_others
from pi_cluster.cluster.wire.dialing import Dialer
from pi_cluster.cluster.wire.failures import readable, restored_errors
from pi_cluster.cluster.wire.options import check_wire_version
from pi_cluster.cluster.wire.peer import Peer
from pi_cluster.protos import pi_cluster_pb2 as pb
from pi_cluster.protos import pi_cluster_pb2_grpc as rpc


@dataclass(frozen=True, slots=True)
class FoundShards:
    """What a node holds of the shards that it was asked for, by digest."""

    held: frozenset[str]
    partial: Mapping[str, int]
    """How many bytes it has of others."""


class NodeClient:
    """Calls to one worker, one method a call of the contract.

    Every call is bounded in time and raises ``ClusterError`` or below; what lasts as long as a
    session (:meth:`run_steps`, :meth:`collect_results`) or must not wait (:meth:`ping`) is handed
    out as gRPC's own call.
    """

    def __init__(self, peer: Peer, dialer: Dialer, apart: bool = False) -> None:
        """Raises ``ClusterError`` when the node must not be called, or cannot be.

        ``apart`` gives it a connection of its own.
        """
        self.label = peer.label
        self._explain = functools.partial(dialer.explain, peer)
        self._channel = dialer.connect(peer, apart)
        self.peer = dialer.found(peer)
        """The node with the address first at which it was reached."""
        self._stub = rpc.WorkerStub(self._channel)

    def describe(
        self, timeout_s: float = settings.CONNECT_TIMEOUT_S, try_next: bool = False
    ) -> pb.NodeDescription:
        """What the node is and does; with ``try_next`` it calls the one that follows it, too.

        Raises ``VersionError`` when it speaks another protocol.
        """
        request = pb.DescribeRequest(try_next=try_next)
        with restored_errors(self.label, self._explain):
            description: pb.NodeDescription = self._stub.Describe(request, timeout=timeout_s)
        check_wire_version(description.wire_version, self.label)
        readable(description)
        return description

    def ping(self, session: str, timeout_s: float) -> Any:
        """Ask whether the node is there, and keep its part of a session alive.

        Returns at once: a ``grpc.Call`` and future of a ``PingReply``.
        """
        return self._stub.Ping.future(pb.PingRequest(session=session), timeout=timeout_s)

    def find_shards(self, files: Iterable[ShardFile]) -> FoundShards:
        """What the node holds of these files; it does not remove them before the next question."""
        request = pb.FindShardsRequest(sha256=[file.sha256 for file in files])
        with restored_errors(self.label, self._explain):
            reply = self._stub.FindShards(request, timeout=settings.CALL_TIMEOUT_S)
        partial = {shard.sha256: int(shard.received_bytes) for shard in reply.partial}
        return FoundShards(frozenset(reply.held), partial)

    def put_shard(
        self, file: ShardFile, path: Path, offset_bytes: int, on_sent: Callable[[int], None]
    ) -> None:
        """Send one shard file from an offset on; ``on_sent`` is told the bytes of each part.

        The node checks the digest, so a file that changed since the manifest was written is
        refused with ``ShardChanged``. Raises ``StoreError`` when the file cannot be read,
        ``NodeLost`` when the node takes nothing any more.
        """
        sent = 0

        def parts() -> Iterator[pb.ShardPart]:
            nonlocal sent
            yield pb.ShardPart(
                sha256=file.sha256, size_bytes=file.size_bytes, offset_bytes=offset_bytes
            )
            source.seek(offset_bytes)
            while data := source.read(settings.SHARD_PART_BYTES):
                yield pb.ShardPart(data=data)
                sent += len(data)
                on_sent(len(data))

        try:
            with _opened(file, path) as source, restored_errors(self.label, self._explain):
                call = self._stub.PutShard.future(parts())
                self._await(call, lambda: sent)
        except StoreError as error:
            # The node knows the shard by its digest only.
            raise type(error)(f"{path}, sent to {self.label}: {error}") from None

    def get_shard(self, digest: str, size_bytes: int, offset_bytes: int) -> Iterator[bytes]:
        """A shard of the node, part after part. Raises ``NodeError`` when it has another size."""
        request = pb.GetShardRequest(sha256=digest, offset_bytes=offset_bytes)
        with restored_errors(self.label, self._explain):
            parts = self._stub.GetShard(request)
            header = next(parts, pb.ShardPart())
            if (header.sha256, header.size_bytes) != (digest, size_bytes):
                raise NodeError(
                    f"{self.label} has {header.size_bytes} bytes as shard {digest[:12]}, which has "
                    f"{size_bytes}"
                )
            for part in parts:
                yield part.data

    def fetch_shard(
        self, file: ShardFile, source: Peer, on_received: Callable[[int], None]
    ) -> None:
        """Have the node get a shard from another one; ``on_received`` is told what is there of it.

        Raises ``ShardChanged`` when the source sent other bytes, ``NodeError`` when it sent
        none, ``NodeLost`` when the node itself is lost.
        """
        address, *others = for_others(source.addresses)
        request = pb.FetchShardRequest(
            sha256=file.sha256,
            size_bytes=file.size_bytes,
            address=address,
            node_id=source.node_id,
            other_addresses=others,
        )
        received, since = -1, time.monotonic()
        with restored_errors(self.label, self._explain):
            call = self._stub.FetchShard(request)
            for reply in call:
                if reply.received_bytes != received:
                    received, since = int(reply.received_bytes), time.monotonic()
                    on_received(received)
                elif time.monotonic() - since > settings.TRANSFER_STALL_S:
                    call.cancel()
                    raise NodeError(f"{source.label} has sent {self.label} nothing for too long")

    def verify_shards(
        self, on_progress: Callable[[pb.VerifyShardsReply], None]
    ) -> pb.VerifyShardsReply:
        """Have the node read all of its shards again; returns the last reply, with what is damaged.

        Raises ``NodeError`` while it does so for somebody else, or when its disk gives nothing.
        """
        last = pb.VerifyShardsReply()
        done, since = -1, time.monotonic()
        with restored_errors(self.label, self._explain):
            call = self._stub.VerifyShards(pb.VerifyShardsRequest())
            for last in call:
                readable(last)
                if last.done_bytes != done:
                    done, since = last.done_bytes, time.monotonic()
                elif time.monotonic() - since > settings.TRANSFER_STALL_S:
                    call.cancel()
                    raise NodeError(
                        f"the disk of {self.label} has given nothing of "
                        f"{last.name or 'a shard'} for {settings.TRANSFER_STALL_S:.0f} s: its card "
                        "may be failing"
                    )
                on_progress(last)
        return last

    def load_stage(self, request: pb.LoadStageRequest) -> int:
        """Replace what the node serves; returns the bytes of mapped weights.

        It takes as long as the node's disk does: call it `attended`.
        """
        with restored_errors(self.label, self._explain):
            reply = self._stub.LoadStage(request, timeout=settings.LOAD_TIMEOUT_S)
        return int(reply.weight_bytes)

    def unload_stage(self, epoch: int) -> None:
        """Let the node go of a stage of this epoch or an older one."""
        with restored_errors(self.label, self._explain):
            self._stub.UnloadStage(
                pb.UnloadStageRequest(epoch=epoch), timeout=settings.UNLOAD_TIMEOUT_S
            )

    def request_certificate(self) -> bytes:
        """A signing request (PKCS #10, DER) for a new key of the node's."""
        with restored_errors(self.label, self._explain):
            reply = self._stub.RequestCertificate(
                pb.RequestCertificateRequest(), timeout=settings.CALL_TIMEOUT_S
            )
        return bytes(reply.signing_request)

    def certify(self, given: Certification) -> None:
        """Give the node a certificate, authorities or a revocation list; it uses them at once."""
        with restored_errors(self.label, self._explain):
            self._stub.Certify(given.to_wire(), timeout=settings.CALL_TIMEOUT_S)

    def measure_node(self) -> NodeProfile:
        """How fast the node computes; it measures when asked for the first time.

        Raises ``PipelineBusy`` when it would have to measure while a session runs.
        """
        with restored_errors(self.label, self._explain):
            speed = self._stub.MeasureNode(
                pb.MeasureNodeRequest(), timeout=settings.MEASURE_TIMEOUT_S
            )
        try:
            return NodeProfile(
                Speed(speed.read_bytes_ps, speed.macs_ps),
                Speed(speed.machine_read_bytes_ps, speed.machine_macs_ps),
            )
        except ValueError as error:
            raise NodeError(f"{self.label} tells of an impossible speed: {error}") from None

    def measure_link(self, other: Peer) -> Link:
        """How fast the node reaches another worker."""
        address, *others = for_others(other.addresses)
        request = pb.MeasureLinkRequest(
            address=address, node_id=other.node_id, other_addresses=others
        )
        with restored_errors(self.label, self._explain):
            speed = self._stub.MeasureLink(request, timeout=settings.MEASURE_TIMEOUT_S)
        try:
            return Link(speed.delay_s, speed.bytes_ps)
        except ValueError as error:
            raise NodeError(f"{self.label} tells of an impossible link: {error}") from None

    def examine(
        self, addresses: Sequence[str], listen_ms: int, measure_disk: bool
    ) -> pb.Examination:
        """How the machine is; it connects to ``addresses`` and listens to mDNS meanwhile."""
        request = pb.ExamineRequest(
            addresses=addresses, listen_ms=listen_ms, measure_disk=measure_disk
        )
        with restored_errors(self.label, self._explain):
            examination: pb.Examination = self._stub.Examine(
                request, timeout=settings.EXAMINE_TIMEOUT_S
            )
        readable(examination)
        return examination

    def echo(
        self, sent_bytes: int, answer_bytes: int, timeout_s: float = settings.CALL_TIMEOUT_S
    ) -> None:
        """Send zeros and wait for as many as are asked for."""
        request = pb.EchoRequest(data=bytes(sent_bytes), answer_bytes=answer_bytes)
        with restored_errors(self.label, self._explain):
            self._stub.Echo(request, timeout=timeout_s)

    def run_steps(self, messages: Iterator[pb.StepMessage]) -> Any:
        """Open a session at this node: a ``grpc.Call`` and future that ends when it does."""
        return self._stub.RunSteps.future(messages)

    def collect_results(self, request: pb.CollectResultsRequest) -> Any:
        """The results of a session: an iterator of ``StepResult`` and a ``grpc.Call``."""
        return self._stub.CollectResults(request)

    def _await(self, call: Any, progress: Callable[[], int]) -> None:
        """Wait for the end of a call for as long as it makes progress."""
        seen = -1
        while True:
            with contextlib.suppress(grpc.FutureTimeoutError):
                call.result(timeout=settings.TRANSFER_STALL_S)
                return
            if progress() == seen:
                call.cancel()
                raise NodeLost(f"{self.label} has taken nothing for {settings.TRANSFER_STALL_S} s")
            seen = progress()

    def close(self) -> None:
        """Close the connection, which breaks what is still open over it."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()


def _opened(file: ShardFile, path: Path) -> BinaryIO:
    try:
        source = path.open("rb", buffering=0)
        size_bytes = path.stat().st_size
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from None
    if size_bytes != file.size_bytes:
        source.close()
        raise StoreError(
            f"{path} has {size_bytes} bytes, its manifest says {file.size_bytes}: "
            f"run `{line('verify', str(path.parent))}`"
        )
    return source

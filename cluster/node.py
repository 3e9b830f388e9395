"""A coordinator's view of one node: its control calls, with failures as our own errors."""

import functools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Self

from cluster import settings, wire
from cluster.certification import Certification
from cluster.dialing import Dialer
from cluster.errors import NodeError, StoreError
from cluster.manifest import ShardFile
from cluster.peer import Peer
from cluster.speed import Link, NodeProfile, Speed
from protos import pi_cluster_pb2 as pb
from protos import pi_cluster_pb2_grpc as rpc


class NodeClient:
    """Calls to one worker. Every call is bounded in time and raises ``ClusterError`` or below."""

    def __init__(self, peer: Peer, dialer: Dialer) -> None:
        """Raises ``ClusterError`` when the node must not be called, or cannot be."""
        self.label = peer.label
        self._explain = functools.partial(dialer.explain, peer)
        self._channel = dialer.connect(peer)
        self._stub = rpc.WorkerStub(self._channel)

    def describe(self, timeout_s: float = settings.CONNECT_TIMEOUT_S) -> pb.NodeDescription:
        """What the node is and does. Raises ``VersionError`` when it speaks another protocol."""
        with wire.restored_errors(self.label, self._explain):
            description: pb.NodeDescription = self._stub.Describe(
                pb.DescribeRequest(), timeout=timeout_s
            )
        wire.check_wire_version(description.wire_version, self.label)
        return description

    def missing(self, files: Iterable[ShardFile]) -> list[ShardFile]:
        """Those of the files that the node does not hold."""
        files = list(files)
        request = pb.FindShardsRequest(sha256=[file.sha256 for file in files])
        with wire.restored_errors(self.label, self._explain):
            held = set(self._stub.FindShards(request, timeout=settings.CALL_TIMEOUT_S).held)
        return [file for file in files if file.sha256 not in held]

    def put_shard(self, file: ShardFile, path: Path, on_sent: Callable[[int], None]) -> None:
        """Send one shard file; ``on_sent`` is told the bytes of each part.

        The node checks the digest, so a file that changed since the manifest was written is
        refused. Raises ``StoreError`` then, and when the file cannot be read.
        """
        try:
            source = path.open("rb")
        except OSError as error:
            raise StoreError(f"cannot read {path}: {error.strerror}") from None

        def parts() -> Iterator[pb.ShardPart]:
            yield pb.ShardPart(sha256=file.sha256, size_bytes=file.size_bytes)
            while data := source.read(settings.SHARD_PART_BYTES):
                yield pb.ShardPart(data=data)
                on_sent(len(data))

        with source:
            if (size := path.stat().st_size) != file.size_bytes:
                raise StoreError(
                    f"{path} has {size} bytes, its manifest says {file.size_bytes}: "
                    f"run `pi-cluster verify {path.parent}`"
                )
            try:
                with wire.restored_errors(self.label, self._explain):
                    self._stub.PutShard(parts())
            except StoreError as error:
                # The node knows the shard by its digest only.
                raise StoreError(f"{path}, sent to {self.label}: {error}") from None

    def load_stage(self, request: pb.LoadStageRequest) -> int:
        """Replace what the node serves; returns the bytes of mapped weights."""
        with wire.restored_errors(self.label, self._explain):
            reply = self._stub.LoadStage(request, timeout=settings.LOAD_TIMEOUT_S)
        return int(reply.weight_bytes)

    def unload_stage(self, epoch: int) -> None:
        """Let the node go of a stage of this epoch or an older one."""
        with wire.restored_errors(self.label, self._explain):
            self._stub.UnloadStage(
                pb.UnloadStageRequest(epoch=epoch), timeout=settings.LOAD_TIMEOUT_S
            )

    def request_certificate(self) -> bytes:
        """A signing request (PKCS #10, DER) for a new key of the node's."""
        with wire.restored_errors(self.label, self._explain):
            reply = self._stub.RequestCertificate(
                pb.RequestCertificateRequest(), timeout=settings.CALL_TIMEOUT_S
            )
        return bytes(reply.signing_request)

    def certify(self, given: Certification) -> None:
        """Give the node a certificate, authorities or a revocation list; it uses them at once."""
        with wire.restored_errors(self.label, self._explain):
            self._stub.Certify(given.to_wire(), timeout=settings.CALL_TIMEOUT_S)

    def measure_node(self) -> NodeProfile:
        """How fast the node computes; it measures when asked for the first time.

        Raises ``PipelineBusy`` when it would have to measure while a session runs.
        """
        with wire.restored_errors(self.label, self._explain):
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
        request = pb.MeasureLinkRequest(address=other.address, node_id=other.node_id)
        with wire.restored_errors(self.label, self._explain):
            speed = self._stub.MeasureLink(request, timeout=settings.MEASURE_TIMEOUT_S)
        try:
            return Link(speed.delay_s, speed.bytes_ps)
        except ValueError as error:
            raise NodeError(f"{self.label} tells of an impossible link: {error}") from None

    def echo(
        self, sent_bytes: int, answer_bytes: int, timeout_s: float = settings.CALL_TIMEOUT_S
    ) -> None:
        """Send zeros and wait for as many as are asked for."""
        request = pb.EchoRequest(data=bytes(sent_bytes), answer_bytes=answer_bytes)
        with wire.restored_errors(self.label, self._explain):
            self._stub.Echo(request, timeout=timeout_s)

    def run_steps(self, messages: Iterator[pb.StepMessage]) -> Any:
        """Open a session at this node: a ``grpc.Call`` and future that ends when it does."""
        return self._stub.RunSteps.future(messages)

    def collect_results(self, request: pb.CollectResultsRequest) -> Any:
        """The results of a session: an iterator of ``StepResult`` and a ``grpc.Call``."""
        return self._stub.CollectResults(request)

    def close(self) -> None:
        """Close the connection, which breaks what is still open over it."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

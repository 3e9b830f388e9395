"""The network face of a worker: check, call, answer. Nothing here computes."""

from collections.abc import Iterator
from pathlib import Path

import grpc

from pi_cluster.cluster import settings
from pi_cluster.cluster.errors import NodeError
from pi_cluster.cluster.speed import NodeProfile
from pi_cluster.cluster.trust.identity import Identity, Role
from pi_cluster.cluster.trust.issued import Certification
from pi_cluster.cluster.wire.addresses import as_seen_from
from pi_cluster.cluster.wire.client import NodeClient
from pi_cluster.cluster.wire.dialing import Dialer
from pi_cluster.cluster.wire.echo import measure_link
from pi_cluster.cluster.wire.interfaces import own_interfaces
from pi_cluster.cluster.wire.peer import Peer, told_peer
from pi_cluster.protos import pi_cluster_pb2 as pb
from pi_cluster.protos import pi_cluster_pb2_grpc as rpc
from pi_cluster.worker.answering import answering, streaming
from pi_cluster.worker.machine import offer
from pi_cluster.worker.machine.examination import Examiner
from pi_cluster.worker.machine.speed import ProfileKeeper
from pi_cluster.worker.machine.strain import StrainGauge
from pi_cluster.worker.machine.system_files import ROOT
from pi_cluster.worker.shards.transfers import ShardTransfers
from pi_cluster.worker.shards.vault import ShardVault
from pi_cluster.worker.stage.assignment import assignment_of
from pi_cluster.worker.stage.host import StageHost
from pi_cluster.worker.stage.mending import Mender
from pi_cluster.worker.stage.verification import Verifier, damaged_to_wire
from pi_cluster.worker.trust.guard import Guard
from pi_cluster.worker.trust.named_shards import NamedShards
from pi_cluster.worker.trust.node_credentials import Membership


class WorkerService(rpc.WorkerServicer):
    """The methods of ``protos/pi_cluster.proto``."""

    def __init__(
        self,
        about: pb.NodeDescription,
        vault: ShardVault,
        host: StageHost,
        profile: ProfileKeeper,
        examiner: Examiner,
        dialer: Dialer,
        memory: offer.UsableMemory,
        guard: Guard | None = None,
        membership: Membership | None = None,
        named: NamedShards | None = None,
        root: Path = ROOT,
    ) -> None:
        """``about`` holds what does not change while the worker runs.

        ``guard`` tells who calls, ``membership`` is renewed, and ``named`` is kept for the next
        start; without certificates these are None. ``root`` holds ``proc`` and ``sys``.
        """
        self._about = about
        self._vault = vault
        self._host = host
        self._profile = profile
        self._examiner = examiner
        self._dialer = dialer
        self._transfers = ShardTransfers(vault, dialer)
        self.mender = Mender(host, vault, self._transfers)
        self.verifier = Verifier(vault, host, self.mender.mend)
        self._memory = memory
        self._strain = StrainGauge(memory, lambda: host.weight_bytes, root, about.name)
        host.sessions.check_memory = self._strain.check_step
        self._guard = guard
        self._membership = membership
        self._named = named or NamedShards()

    @property
    def name(self) -> str:
        """What people call this node."""
        return self._about.name

    @answering
    def Describe(
        self, request: pb.DescribeRequest, context: grpc.ServicerContext
    ) -> pb.NodeDescription:
        description = pb.NodeDescription()
        description.CopyFrom(self._about)
        description.memory_bytes = self._memory.total_bytes
        description.free_memory_bytes = self._memory.free_bytes
        description.free_disk_bytes = self._vault.free_bytes
        description.disk_problem = self._vault.disk_problem
        description.resident_bytes = offer.resident_bytes()
        self._strain.describe(description)
        status = self._host.status()
        if status is not None:
            description.stage.CopyFrom(status)
            if request.try_next:
                description.stage.next_error = self._host.try_next()
        description.stage_problem = self._host.problem
        description.damaged_shards.extend(map(damaged_to_wire, self._vault.damaged))
        if self._membership:
            credentials = self._membership.credentials.current
            expires = credentials.certificate.not_valid_after_utc.timestamp()
            description.certificate_expires_unix_s = int(expires)
            description.revocations_number = credentials.revoked.number
        if self._profile.stored is not None:
            description.speed.CopyFrom(_speed(self._profile.stored))
        return description

    @answering
    def Ping(self, request: pb.PingRequest, context: grpc.ServicerContext) -> pb.PingReply:
        reply = self._host.sessions.ping(request.session)
        self._strain.tell(reply)
        return reply

    @answering
    def FindShards(
        self, request: pb.FindShardsRequest, context: grpc.ServicerContext
    ) -> pb.FindShardsReply:
        if healer := self._healer(context):
            self._named.check(healer, request.sha256)
        else:
            self._named.name(request.sha256)
        return self._transfers.find(request)

    @answering
    def PutShard(
        self, request: Iterator[pb.ShardPart], context: grpc.ServicerContext
    ) -> pb.PutShardReply:
        self._transfers.put(request)
        return pb.PutShardReply()

    @streaming
    def GetShard(
        self, request: pb.GetShardRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.ShardPart]:
        yield from self._transfers.get(request)

    @streaming
    def FetchShard(
        self, request: pb.FetchShardRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.FetchShardReply]:
        if healer := self._healer(context):
            self._named.check(healer, [request.sha256])
        source = _peer(request)
        yield from self._transfers.fetch(request, source, context.add_callback)

    @streaming
    def VerifyShards(
        self, request: pb.VerifyShardsRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.VerifyShardsReply]:
        yield from self.verifier.verify_all(context.add_callback)

    @answering
    def LoadStage(
        self, request: pb.LoadStageRequest, context: grpc.ServicerContext
    ) -> pb.LoadStageReply:
        assignment = assignment_of(request)
        if healer := self._healer(context):
            self._named.check_store(healer, assignment.manifest, request.standby_sha256)
        else:
            self._named.name_store(assignment.manifest)
        weight_bytes = self._host.load(assignment)
        self.verifier.wake()
        return pb.LoadStageReply(weight_bytes=weight_bytes)

    @answering
    def UnloadStage(
        self, request: pb.UnloadStageRequest, context: grpc.ServicerContext
    ) -> pb.UnloadStageReply:
        self._host.unload(request.epoch)
        return pb.UnloadStageReply()

    @answering
    def RunSteps(
        self, request: Iterator[pb.StepMessage], context: grpc.ServicerContext
    ) -> pb.RunStepsReply:
        first = next(request, None)
        if first is None or first.WhichOneof("message") != "header":
            raise NodeError("a session begins with its header")
        caller = self._guard.caller(context) if self._guard else None
        with self._host.sessions.open(first.header, caller) as (session, outlet):
            session.run(request, outlet)
        return pb.RunStepsReply()

    @streaming
    def CollectResults(
        self, request: pb.CollectResultsRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.StepResult]:
        with self._host.sessions.results(request) as sink:
            if not context.add_callback(sink.abandon):
                return
            yield pb.StepResult(ready=True)
            yield from sink.results()

    @answering
    def MeasureNode(
        self, request: pb.MeasureNodeRequest, context: grpc.ServicerContext
    ) -> pb.NodeSpeed:
        return _speed(self._profile.profile(self._host.sessions.kept_out))

    @answering
    def MeasureLink(
        self, request: pb.MeasureLinkRequest, context: grpc.ServicerContext
    ) -> pb.LinkSpeed:
        # That of a session may be dead, which its keepalive tells only after half a minute.
        with NodeClient(_peer(request), self._dialer, apart=True) as other:
            link = measure_link(other)
        return pb.LinkSpeed(delay_s=link.delay_s, bytes_ps=link.bytes_ps)

    @answering
    def Examine(self, request: pb.ExamineRequest, context: grpc.ServicerContext) -> pb.Examination:
        return self._examiner.examine(request)

    @answering
    def Echo(self, request: pb.EchoRequest, context: grpc.ServicerContext) -> pb.EchoReply:
        for name, size in (("sent", len(request.data)), ("asked for", request.answer_bytes)):
            if size > settings.MAX_ECHO_BYTES:
                raise NodeError(
                    f"an echo of {size} bytes was {name}; at most {settings.MAX_ECHO_BYTES}"
                )
        return pb.EchoReply(data=bytes(request.answer_bytes))

    @answering
    def RequestCertificate(
        self, request: pb.RequestCertificateRequest, context: grpc.ServicerContext
    ) -> pb.SigningRequest:
        return pb.SigningRequest(signing_request=self._certified().request_certificate())

    @answering
    def Certify(self, request: pb.Certification, context: grpc.ServicerContext) -> pb.CertifyReply:
        self._certified().certify(Certification.from_wire(request))
        return pb.CertifyReply()

    def _healer(self, context: grpc.ServicerContext) -> Identity | None:
        """Who calls, if that is a healer, who may not do all that these methods can."""
        caller = self._guard.caller(context) if self._guard else None
        return caller if caller and caller.role is Role.HEALER else None

    def _certified(self) -> Membership:
        if self._membership is None:
            raise NodeError(
                "this worker was started without certificates, so there are none to renew"
            )
        return self._membership


def _speed(profile: NodeProfile) -> pb.NodeSpeed:
    return pb.NodeSpeed(
        read_bytes_ps=profile.alone.read_bytes_ps,
        macs_ps=profile.alone.macs_ps,
        machine_read_bytes_ps=profile.machine.read_bytes_ps,
        machine_macs_ps=profile.machine.macs_ps,
    )


def _peer(request: pb.FetchShardRequest | pb.MeasureLinkRequest) -> Peer:
    told = told_peer(request.address, request.other_addresses, request.node_id)
    return as_seen_from(told, own_interfaces())

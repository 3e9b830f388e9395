"""The worker as a process: one data directory, one port, a clean end."""

import contextlib
import functools
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import grpc

from pi_cluster.cluster import settings
from pi_cluster.cluster.advice import command
from pi_cluster.cluster.discovery import mdns
from pi_cluster.cluster.discovery.rediscovery import Rediscovering
from pi_cluster.cluster.errors import AccessError, ClusterError, NodeLost
from pi_cluster.cluster.trust.credentials import LiveCredentials
from pi_cluster.cluster.trust.roles import WORKER_RULES
from pi_cluster.cluster.version import VERSION
from pi_cluster.cluster.wire.dialing import Dialer, PlainDialer
from pi_cluster.cluster.wire.options import SERVER_OPTIONS, WIRE_VERSION
from pi_cluster.cluster.wire.peer import Peer, is_loopback
from pi_cluster.cluster.wire.secure_dialing import SecureDialer
from pi_cluster.kernels import Engine
from pi_cluster.protos import pi_cluster_pb2 as pb
from pi_cluster.protos import pi_cluster_pb2_grpc as rpc
from pi_cluster.worker.allocator import map_large_blocks
from pi_cluster.worker.identity import load_identity
from pi_cluster.worker.machine import offer
from pi_cluster.worker.machine.examination import Examiner
from pi_cluster.worker.machine.speed import ProfileKeeper
from pi_cluster.worker.presence import Presence, present
from pi_cluster.worker.service import WorkerService
from pi_cluster.worker.shards.shard_folder import shards_folder
from pi_cluster.worker.shards.vault import ShardVault
from pi_cluster.worker.stage.host import StageHost
from pi_cluster.worker.stage.last_assignment import LastAssignment
from pi_cluster.worker.stage.loading import load_stage
from pi_cluster.worker.trust.enrolment import Enrolment, enrolment_server, waits_to_join
from pi_cluster.worker.trust.guard import MAX_SILENT_STRANGERS, Guard
from pi_cluster.worker.trust.named_shards import NamedShards
from pi_cluster.worker.trust.node_credentials import Membership, is_certified
from pi_cluster.worker.trust.serving import server_credentials

log = logging.getLogger(__name__)

_POLL_S = 0.2
_WAKE_S = 1.0
_DAY_S = 86_400
# Beyond all places some, made when they are needed, for whoever is about to be sent away.
_THREADS = settings.MAX_CALLS + 2 * MAX_SILENT_STRANGERS


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """What a worker is told on its command line."""

    cluster: str
    host: str
    port: int
    """0 lets the system choose."""
    data_dir: Path
    name: str
    threads: int | None = None
    """Of the kernels; None takes all cores."""
    memory_bytes: int | None = None
    """That it may use; None is all of the machine's."""
    announce: bool = True
    verify_every_days: float = settings.VERIFY_DAYS
    """From one check of the loaded shards to the next."""
    insecure: bool = False
    """Serve other machines without certificates."""


def run_worker(options: WorkerOptions) -> None:
    """Serve until SIGTERM or SIGINT.

    Prints one line, ``ready HOST:PORT NODE_ID``, to standard output once calls are answered.
    Raises ``ClusterError`` when the port or the data directory cannot be had.
    """
    map_large_blocks()
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    with (
        present(options.data_dir) as tell,
        Engine(settings.kernel_variant(), options.threads) as engine,
    ):
        if waits_to_join(options.data_dir):
            options = _join(options, stopping)
        if not stopping.is_set():
            _serve(options, engine, tell, stopping)
    log.info("node %s has left", options.name)


def _serve(
    options: WorkerOptions,
    engine: Engine,
    tell: Callable[[Presence], None],
    stopping: threading.Event,
) -> None:
    """Answer calls until ``stopping`` is set."""
    identity = load_identity(options.data_dir)
    membership = _membership(options)
    credentials = membership.credentials if membership else None
    dialer = _dialer(options, credentials)
    shards = shards_folder(options.data_dir)
    vault = ShardVault(shards)
    load = functools.partial(load_stage, files=vault, engine=engine)
    host = StageHost(vault, load, dialer, LastAssignment(options.data_dir), options.name)
    guard = Guard(WORKER_RULES, credentials)
    service = WorkerService(
        _about(options, identity.node_id, engine),
        vault,
        host,
        ProfileKeeper(options.data_dir, identity, engine),
        Examiner(options.cluster, shards),
        dialer,
        offer.UsableMemory(options.memory_bytes),
        guard,
        membership,
        NamedShards(options.data_dir) if membership else None,
    )
    server = _server(service, guard)
    shown = server_credentials(credentials) if credentials else None
    address = f"{options.host}:{_bind(server, options, shown)}"
    host.reload()
    server.start()
    peer = Peer(address, identity.node_id, options.name)
    watching = service.verifier.watching(options.verify_every_days * _DAY_S)
    with _announced(peer, options), watching, service.mender:
        tell(Presence(os.getpid(), address, identity.node_id))
        print(f"ready {address} {identity.node_id}", flush=True)
        log.info("node %s (%s) listens on %s", options.name, identity.node_id, address)
        # A signal that another thread took is handled when this one wakes.
        while not stopping.wait(_WAKE_S):
            pass
    host.sessions.end(NodeLost(f"{options.name} is shutting down"))
    server.stop(settings.STOP_GRACE_S).wait()


def _about(options: WorkerOptions, node_id: str, engine: Engine) -> pb.NodeDescription:
    """What does not change while the worker runs."""
    return pb.NodeDescription(
        node_id=node_id,
        name=options.name,
        cluster=options.cluster,
        version=VERSION,
        wire_version=WIRE_VERSION,
        machine_id=offer.machine_id(),
        kernels=engine.variant,
        threads=engine.threads,
    )


def _dialer(options: WorkerOptions, credentials: LiveCredentials | None) -> Dialer:
    dialer: Dialer = (
        SecureDialer(credentials) if credentials else PlainDialer(options.insecure, options.cluster)
    )
    return Rediscovering(dialer, options.cluster) if options.announce else dialer


def _server(service: WorkerService, guard: Guard) -> grpc.Server:
    server = grpc.server(
        ThreadPoolExecutor(_THREADS, "call"),
        interceptors=[guard],
        options=SERVER_OPTIONS,
        maximum_concurrent_rpcs=_THREADS,
    )
    rpc.add_WorkerServicer_to_server(service, server)
    return server


def _join(options: WorkerOptions, stopping: threading.Event) -> WorkerOptions:
    """Wait to be admitted, or stopped; returns the options with the port that was chosen."""
    enrolment = Enrolment(options.data_dir, options.cluster, options.name)
    node_id, token_id = enrolment.identity.id, enrolment.token.id
    with enrolment_server(enrolment) as server:
        port = _bind(server, options, enrolment.server_credentials)
        server.start()
        address = f"{options.host}:{port}"
        with _announced(Peer(address, node_id, options.name, token_id), options):
            print(f"joining {address} {node_id}", flush=True)
            log.info("node %s (%s) waits on %s to join", options.name, node_id, address)
            while not (stopping.is_set() or enrolment.admitted.wait(_POLL_S)):
                pass
    return replace(options, port=port)


def _announced(peer: Peer, options: WorkerOptions) -> contextlib.AbstractContextManager[None]:
    if not options.announce:
        return contextlib.nullcontext()
    return mdns.announced(peer, options.cluster, VERSION)


def _membership(options: WorkerOptions) -> Membership | None:
    """The node's certificates. Raises ``AccessError`` where it must not serve without any."""
    if is_certified(options.data_dir):
        return Membership(options.data_dir, options.cluster)
    if is_loopback(f"{options.host}:{options.port}"):
        return None
    if not options.insecure:
        make_token = command(options.cluster, "token", "create")
        raise AccessError(
            f"this worker has no certificate, so it may not listen on {options.host}, where others "
            f"could use it and read along: let it join a cluster (`{make_token}` on the operator's "
            "machine prints the command), or give --insecure if everyone on this network may"
        )
    log.warning(
        "INSECURE: listening on %s without encryption or certificates: anyone on this network can "
        "use this worker, load weights into it and read prompts",
        options.host,
    )
    return None


def _bind(
    server: grpc.Server, options: WorkerOptions, credentials: grpc.ServerCredentials | None
) -> int:
    address = f"{options.host}:{options.port}"
    with contextlib.suppress(RuntimeError):
        if credentials:
            port = server.add_secure_port(address, credentials)
        else:
            port = server.add_insecure_port(address)
        if port:
            return int(port)
    raise ClusterError(
        f"cannot listen on {address} ({_why_not(options)}): name another one with --listen "
        "HOST:PORT; port 0 lets the system choose"
    )


def _why_not(options: WorkerOptions) -> str:
    """gRPC does not say why a port cannot be had; the system does."""
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            options.host.strip("[]"), options.port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.bind(where)
    except OSError as error:
        return error.strerror or str(error)
    return "the system gives no reason"

"""Workers as threads of this process, on real sockets: many stages without many processes."""

import functools
import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc

from pi_cluster.cluster.layer_range import LayerRange
from pi_cluster.cluster.store.store import Store
from pi_cluster.cluster.wire.client import NodeClient
from pi_cluster.cluster.wire.dialing import PlainDialer
from pi_cluster.cluster.wire.load_request import load_request
from pi_cluster.cluster.wire.options import SERVER_OPTIONS, WIRE_VERSION
from pi_cluster.coordinator.stage_address import StageAddress
from pi_cluster.protos import pi_cluster_pb2 as pb
from pi_cluster.protos import pi_cluster_pb2_grpc as rpc
from pi_cluster.transformer.limits import Limits
from pi_cluster.worker.identity import NodeFile
from pi_cluster.worker.machine.examination import Examiner
from pi_cluster.worker.machine.offer import UsableMemory
from pi_cluster.worker.machine.speed import ProfileKeeper
from pi_cluster.worker.machine.system_files import ROOT
from pi_cluster.worker.service import WorkerService
from pi_cluster.worker.shards.vault import ShardVault
from pi_cluster.worker.stage.host import StageHost
from pi_cluster.worker.stage.loading import load_stage as load_from_vault
from tests.support.kernel_engines import EVERY_VARIANT, engine

EPOCH = 7
PLAIN = PlainDialer()
LIMITS = Limits(max_step_rows=512, max_sequences=4, context=1024, cache_positions=4 * 1024)


@contextmanager
def serving(servicer: rpc.WorkerServicer) -> Iterator[str]:
    """A gRPC server on a port that the system chooses; yields its address."""
    server = grpc.server(ThreadPoolExecutor(4), options=SERVER_OPTIONS)
    rpc.add_WorkerServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


@contextmanager
def pipeline(
    store: Store,
    bounds: Sequence[int],
    folder: Path,
    limits: Limits = LIMITS,
    root: Path = ROOT,
) -> Iterator[list[StageAddress]]:
    """Serve a store by stages that are cut at ``bounds``; 0 and the last layer among them.

    ``root`` is where they look for what Linux tells of memory and heat.
    """
    ranges = [LayerRange(*pair) for pair in itertools.pairwise(bounds)]
    vault = ShardVault(folder)  # the nodes of this process share their disk
    kernels = engine(EVERY_VARIANT[0])
    load = functools.partial(load_from_vault, files=vault, engine=kernels)
    with ExitStack() as stack:
        stages = []
        for layers in ranges:
            name = f"node-{layers}"
            about = pb.NodeDescription(node_id=name, name=name, wire_version=WIRE_VERSION)
            profile = ProfileKeeper(folder, NodeFile(name), kernels, root)
            host, examiner = StageHost(vault, load, PLAIN), Examiner(name, folder)
            memory = UsableMemory(root=root)
            service = WorkerService(
                *(about, vault, host, profile, examiner, PLAIN, memory), root=root
            )
            address = stack.enter_context(serving(service))
            stages.append(StageAddress(name, name, address, layers))
        for stage, following in zip(stages, [*stages[1:], None], strict=True):
            load_stage(store, stage, following, limits=limits)
        yield stages


def load_stage(
    store: Store,
    stage: StageAddress,
    following: StageAddress | None,
    epoch: int = EPOCH,
    limits: Limits = LIMITS,
) -> None:
    """Hand a stage its shards and load it."""
    layers = stage.layers
    next_hop = following.peer if following else None
    request = load_request(epoch, store.manifest, layers, limits, next_hop)
    with NodeClient(stage.peer, PLAIN) as client:
        files = store.manifest.stage_files(layers.start, layers.stop)
        held = client.find_shards(files).held
        for file in (file for file in files if file.sha256 not in held):
            client.put_shard(file, store.path_of(file), 0, lambda _: None)
        client.load_stage(request)

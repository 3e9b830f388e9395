"""A virtual worker: the real server of a node around a stage that only takes time.

    python -m benchmarks.virtual.worker ADDRESS BANDWIDTH RATE SLOWNESS SCRIPTS

Prints ``ready HOST:PORT`` and ends when its standard input does. Each line there is answered with
the seconds of processor time that it has spent beside its arithmetic.
"""

import json
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc

from benchmarks.virtual.pis import Board
from benchmarks.virtual.stage import VirtualLoader
from benchmarks.workers import PLAIN
from pi_cluster.cluster import settings
from pi_cluster.cluster.speed import NodeProfile, Speed
from pi_cluster.cluster.version import VERSION
from pi_cluster.cluster.wire.options import SERVER_OPTIONS, WIRE_VERSION
from pi_cluster.kernels import Engine
from pi_cluster.protos import pi_cluster_pb2 as pb
from pi_cluster.protos import pi_cluster_pb2_grpc as rpc
from pi_cluster.worker.identity import MeasuredWith, NodeFile
from pi_cluster.worker.machine.examination import Examiner
from pi_cluster.worker.machine.offer import UsableMemory
from pi_cluster.worker.machine.speed import ProfileKeeper
from pi_cluster.worker.service import WorkerService
from pi_cluster.worker.shards.vault import ShardVault
from pi_cluster.worker.stage.host import StageHost

_CALLS_AT_ONCE = 16


def main() -> None:
    """Serve until standard input ends."""
    address, *constants, scripts = sys.argv[1:]
    board = Board("virtual", *map(float, constants))
    with tempfile.TemporaryDirectory() as folder:
        load = VirtualLoader(board, json.loads(Path(scripts).read_text()))
        vault = ShardVault(Path(folder))
        about = pb.NodeDescription(
            node_id=address, name=address, version=VERSION, wire_version=WIRE_VERSION
        )
        server = grpc.server(ThreadPoolExecutor(_CALLS_AT_ONCE), options=SERVER_OPTIONS)
        host, profile = StageHost(vault, load, PLAIN), _profile(Path(folder), board)
        examiner = Examiner(address, Path(folder))
        service = WorkerService(about, vault, host, profile, examiner, PLAIN, UsableMemory())
        rpc.add_WorkerServicer_to_server(service, server)
        port = server.add_insecure_port(address)
        server.start()
        print(f"ready {address.rpartition(':')[0]}:{port}", flush=True)
        for _ in sys.stdin:
            print(time.process_time() - load.spent_s, flush=True)
        server.stop(settings.STOP_GRACE_S).wait()


def _profile(folder: Path, board: Board) -> ProfileKeeper:
    """The board's constants, as if they had been measured."""
    engine = Engine(threads=1)
    speed = Speed(board.bandwidth, board.rate)
    measured_with = MeasuredWith(engine.variant, engine.threads)
    identity = NodeFile(board.name, NodeProfile(speed, speed), measured_with)
    return ProfileKeeper(folder, identity, engine)


if __name__ == "__main__":
    main()

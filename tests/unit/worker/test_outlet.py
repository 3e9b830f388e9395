"""What a stage passes on: over a real call to a next stage, which here only counts."""

import queue
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import pytest

from pi_cluster.cluster.wire.dialing import PlainDialer
from pi_cluster.cluster.wire.options import SERVER_OPTIONS
from pi_cluster.cluster.wire.peer import Peer
from pi_cluster.protos import pi_cluster_pb2 as pb
from pi_cluster.protos import pi_cluster_pb2_grpc as rpc
from pi_cluster.worker.allocator import LARGE_BYTES
from pi_cluster.worker.stage.outlet import NextHop
from tests.support.cluster_process import eventually

BOUND_S = 30.0
LARGEST_STEP_BYTES = 8 << 20  # 512 rows of a 7B


class Counting(rpc.WorkerServicer):
    """Keeps of each message what it was, and how large."""

    def __init__(self) -> None:
        self.came: queue.SimpleQueue[tuple[str | None, int]] = queue.SimpleQueue()

    def RunSteps(self, request, context):  # noqa: N802
        for message in request:
            self.came.put((message.WhichOneof("message"), message.ByteSize()))
        return pb.RunStepsReply()

    def Ping(self, request, context):  # noqa: N802
        return pb.PingReply()


@contextmanager
def next_hop() -> Iterator[tuple[NextHop, Counting]]:
    counting, failures = Counting(), []
    server = grpc.server(ThreadPoolExecutor(4), options=SERVER_OPTIONS)
    rpc.add_WorkerServicer_to_server(counting, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        header = pb.SessionHeader(session="s")
        hop = NextHop(Peer(f"127.0.0.1:{port}", ""), PlainDialer(), header, failures.append)
        assert counting.came.get(timeout=BOUND_S)[0] == "header"
        yield hop, counting
        hop.close()
        assert not failures
    finally:
        server.stop(None).wait()


def test_nothing_of_a_large_step_stays_once_it_was_sent():
    with next_hop() as (hop, counting):
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            hop.send(pb.Step(step=1, hidden=bytes(LARGEST_STEP_BYTES)))
            kind, size = counting.came.get(timeout=BOUND_S)
            assert kind == "step" and size > LARGEST_STEP_BYTES
            left = before + LARGEST_STEP_BYTES // 4
            eventually(lambda: tracemalloc.get_traced_memory()[0], lambda held: held < left)
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("size", [0, LARGE_BYTES - 1])
def test_a_small_step_is_sent_alone(size):
    with next_hop() as (hop, counting):
        hop.send(pb.Step(step=1, hidden=bytes(size)))
        hop.end_sequences(pb.EndSequences(sequence=[7]))
        assert counting.came.get(timeout=BOUND_S)[0] == "step"
        kind, size = counting.came.get(timeout=BOUND_S)
        assert (kind, size) == ("end", pb.StepMessage(end={"sequence": [7]}).ByteSize())

"""The way from a stage to the next one, over real gRPC."""

import threading
from concurrent import futures

import grpc

from pi_cluster.cluster.errors import NodeLost
from pi_cluster.cluster.wire.dialing import PlainDialer
from pi_cluster.cluster.wire.peer import told_peer
from pi_cluster.protos import pi_cluster_pb2 as pb
from pi_cluster.protos import pi_cluster_pb2_grpc as rpc
from pi_cluster.worker.stage.outlet import NextHop

SESSIONS = 400  # in a few of a hundred, the failure comes while the end is still being sent
PATIENCE_S = 60


class FailsAtTheEnd(rpc.WorkerServicer):
    """A next stage that is lost as soon as it is told that the session ends."""

    def RunSteps(self, request_iterator, context):  # noqa: N802
        for _ in request_iterator:
            pass
        context.abort(grpc.StatusCode.UNAVAILABLE, "gone")

    def Ping(self, request, context):  # noqa: N802
        return pb.PingReply()


def end_session(peer):
    """As a stage ends one: its failure, on a thread of gRPC's, breaks off what still waits."""
    is_there = threading.Event()
    hops = []

    def failed(error):
        is_there.wait()
        hops[0].abort(error)

    hops.append(NextHop(peer, PlainDialer(), pb.SessionHeader(session="s"), failed))
    is_there.set()
    try:
        hops[0].close()
    except NodeLost:
        return True
    finally:
        hops[0].release()
    return False


def test_a_stage_lets_go_of_a_session_whose_next_stage_is_lost_at_its_end():
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=16))
    rpc.add_WorkerServicer_to_server(FailsAtTheEnd(), server)
    peer = told_peer(f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}", (), "next", "pi2")
    server.start()
    ended = []

    def end_sessions():
        ended.extend(end_session(peer) for _ in range(SESSIONS // 4))

    # Of threads that hang nobody waits at the end.
    threads = [threading.Thread(target=end_sessions, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    server.stop(None).wait()
    assert ended == [True] * SESSIONS

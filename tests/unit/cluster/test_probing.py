"""Several addresses of one node: tried in order, each with a head start, on real sockets."""

import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import grpc
import pytest

from pi_cluster.cluster.errors import AccessError, ClusterError, NodeLost
from pi_cluster.cluster.trust.authority import ClusterAuthority
from pi_cluster.cluster.trust.identity import Role
from pi_cluster.cluster.wire.addresses import as_seen_from
from pi_cluster.cluster.wire.client import NodeClient
from pi_cluster.cluster.wire.dialing import PlainDialer
from pi_cluster.cluster.wire.options import SERVER_OPTIONS, WIRE_VERSION
from pi_cluster.cluster.wire.peer import MOST_ADDRESSES, Peer, told_peer
from pi_cluster.cluster.wire.probing import accepting, refuse
from pi_cluster.cluster.wire.secure_dialing import SecureDialer
from pi_cluster.coordinator.pipeline.nodes import ask_all
from pi_cluster.protos import pi_cluster_pb2 as pb
from pi_cluster.protos import pi_cluster_pb2_grpc as rpc
from pi_cluster.worker.trust.serving import server_credentials
from tests.support.authorities import CLUSTER, certify_node, live
from tests.support.worker_servers import PLAIN, serving

NOWHERE = "192.0.2.1:9"  # of a network that exists in books alone (RFC 5737)
BOUND_S = 20.0


@contextmanager
def listeners(count):
    with ExitStack() as stack:
        sockets = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)
        ]
        yield [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]


def test_the_first_that_accepts_comes_first_and_the_others_follow(closed_port):
    with listeners(2) as (one, two):
        refused = f"127.0.0.1:{closed_port}"
        assert list(accepting([refused, one, two], BOUND_S)) == [one, two]
        assert list(accepting([two, refused, one], BOUND_S)) == [two, one]


def test_an_address_that_leads_nowhere_costs_a_moment_and_not_all_the_time():
    with listeners(1) as (one,):
        assert next(accepting([NOWHERE, "[fe80::1%no-such]:1", one], BOUND_S)) == one


@pytest.mark.parametrize("address", ["no such name:7", "", "[::1", "a..b:7", NOWHERE])
def test_where_nobody_can_be_there_is_nobody(address):
    assert list(accepting([address], 0.2)) == []
    assert list(accepting([], 0.2)) == []


class Named(rpc.WorkerServicer):
    """A worker that says which node it is."""

    def __init__(self, node_id):
        self._node_id = node_id

    def Describe(self, request, context):  # noqa: N802
        return pb.NodeDescription(node_id=self._node_id, wire_version=WIRE_VERSION)


def test_without_certificates_the_answer_tells_that_an_address_is_somebody_elses():
    with serving(Named("pi1")) as right, serving(Named("pi2")) as wrong:
        (node,) = ask_all([Peer(wrong, "pi1", others=(right,))], PLAIN)
        assert (node.address, node.others) == (right, ())
        (refused,) = ask_all([Peer(wrong, "pi1")], PLAIN)
        assert isinstance(refused, ClusterError) and "node pi2 answers there" in str(refused)


def test_a_plain_dialer_calls_no_other_machine_that_is_among_the_addresses():
    with (
        serving(Named("pi1")) as here,
        NodeClient(Peer(NOWHERE, "pi1", others=(here,)), PlainDialer()) as client,
    ):
        assert client.describe().node_id == "pi1"


def test_a_dialer_remembers_which_address_answered_and_looks_again_when_it_does_not():
    dialer = PlainDialer(beyond_loopback=True)
    with serving(Named("pi1")) as two:
        with serving(Named("pi1")) as one:
            peer = Peer(NOWHERE, "pi1", others=(one, two))
            dialer.connect(peer).close()
            assert dialer.found(peer).addresses == (one, NOWHERE, two)
        dialer.explain(peer)
        dialer.connect(peer).close()
        assert dialer.found(peer).address == two
    dialer.explain(peer)
    with pytest.raises(NodeLost, match=NOWHERE):
        dialer.connect(peer)


@contextmanager
def certified(authority, folder):
    """A worker with a node's certificate; its id and address."""
    node_id = certify_node(authority, folder)
    server = grpc.server(ThreadPoolExecutor(2), options=SERVER_OPTIONS)
    rpc.add_WorkerServicer_to_server(Named(node_id), server)
    shown = server_credentials(live(folder / "credentials", Role.NODE))
    address = f"127.0.0.1:{server.add_secure_port('127.0.0.1:0', shown)}"
    server.start()
    try:
        yield node_id, address
    finally:
        server.stop(None).wait()


def test_with_certificates_others_at_a_nodes_addresses_do_not_keep_it_from_being_reached(tmp_path):
    authority = ClusterAuthority.create(tmp_path / CLUSTER, CLUSTER)
    dialer = SecureDialer(live(authority.folder, Role.OPERATOR))
    with (
        certified(authority, tmp_path / "one") as (one, ours),
        certified(authority, tmp_path / "two") as (two, theirs),
        serving(Named(one)) as in_the_clear,
    ):
        peer = Peer(in_the_clear, one, others=(theirs, ours))
        with NodeClient(peer, dialer) as client:
            assert client.describe().node_id == one
            assert client.peer.address == ours
        with pytest.raises(AccessError, match=f"node {two} answers there"):
            dialer.connect(Peer(theirs, one))
    dialer.explain(peer)
    with pytest.raises(NodeLost, match="no reply at"):
        dialer.connect(peer)


def test_a_host_where_nobody_listens_says_so_and_one_that_is_silent_does_not():
    with socket.socket() as bound, socket.create_server(("127.0.0.1", 0)) as listening:
        bound.bind(("127.0.0.1", 0))  # bound, but nobody listens
        dead, alive = (f"127.0.0.1:{one.getsockname()[1]}" for one in (bound, listening))
        assert refuse([dead], 1.0) and refuse(["no such name:1", dead], 1.0)
        assert not refuse([dead, alive], 1.0)
    assert not refuse([], 0.1)
    with ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):  # more than wait there: who comes later gets no answer
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        assert not refuse([f"127.0.0.1:{full.getsockname()[1]}"], 0.1)


def test_more_addresses_than_a_node_can_have_and_what_is_none_are_refused():
    told_peer("10.0.0.1:1", ["10.0.0.2:1"] * (MOST_ADDRESSES - 1), "id")
    with pytest.raises(ClusterError, match=f"at most {MOST_ADDRESSES}"):
        told_peer("10.0.0.1:1", ["10.0.0.2:1"] * MOST_ADDRESSES, "id")
    for address in ("", "pi1", "x" * 263 + ":1", "fe80::1:1"):
        with pytest.raises(ClusterError, match=r"HOST:PORT|characters"):
            told_peer("10.0.0.1:1", [address], "id")


def test_a_node_of_which_nothing_leads_there_keeps_its_addresses_for_the_message():
    peer = Peer("[fe80::2]:1", "id")
    assert as_seen_from(peer, []) == peer

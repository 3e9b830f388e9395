"""Who has no certificate and calls all the same: silent, in a flood, and at nobody else's cost."""

import contextlib
import queue
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from pi_cluster.cluster import settings
from pi_cluster.cluster.errors import NodeLost
from pi_cluster.cluster.trust.authority import ClusterAuthority
from pi_cluster.cluster.trust.credentials import load_credentials
from pi_cluster.cluster.trust.identity import Role
from pi_cluster.cluster.trust.roles import Rule
from pi_cluster.cluster.trust.tokens import TokenBook
from pi_cluster.cluster.wire.client import NodeClient
from pi_cluster.cluster.wire.handshake import shown_certificate, who_answers
from pi_cluster.cluster.wire.options import CLIENT_OPTIONS
from pi_cluster.cluster.wire.peer import Peer, split_address
from pi_cluster.cluster.wire.secure_dialing import SecureDialer
from pi_cluster.deploy.membership.admission import Admitter, pinned_channel
from pi_cluster.protos import pi_cluster_pb2 as pb
from pi_cluster.protos import pi_cluster_pb2_grpc as rpc
from pi_cluster.worker.trust.guard import Guard
from pi_cluster.worker.trust.silent_calls import SilentCalls
from tests.support.authorities import certify_node, live
from tests.support.cluster_process import eventually
from tests.support.worker_servers import PLAIN

SILENT = 200
DESCRIBE = "/pi_cluster.v1.Worker/Describe"


class Home:
    """A cluster with certificates, and a worker that is part of it."""

    def __init__(self, cluster):
        self.cluster = cluster
        assert cluster.call("init").code == 0
        with cluster.environment():
            self.config = settings.cluster_config(cluster.name)
        self.authority = ClusterAuthority(self.config, cluster.name)
        self.dialer = SecureDialer(live(self.config, Role.OPERATOR))
        node_id = certify_node(self.authority, cluster.folder / "certified", "certified")
        self.worker, address = cluster.start_worker("certified", "--threads", "1")
        self.peer = Peer(address, node_id, "certified")

    def start_waiting(self, name):
        """A node that waits to join; its process, and where."""
        token = TokenBook(self.config).create(self.authority.fingerprint, 600)
        node = self.cluster.start(
            *("join", token.text, "--foreground", "--no-mdns", "--listen", "127.0.0.1:0"),
            *("--name", name, "--data-dir", str(self.cluster.folder / name)),
        )
        _, address, node_id = node.read_line().split()
        return node, Peer(address, node_id, name)


@pytest.fixture(scope="module")
def home(make_cluster):
    with make_cluster() as cluster:
        yield Home(cluster)


def never():
    """Messages that never come, until the call ends."""
    return iter(queue.SimpleQueue().get, None)


@contextlib.contextmanager
def silent_calls(channels, method, count=SILENT):
    """Calls that send no message, spread over the channels; all have begun within the block."""
    held = [channels[n % len(channels)].stream_stream(method)(never()) for n in range(count)]
    try:
        eventually(lambda: sum(not one.is_active() for one in held), lambda ended: ended > 0)
        yield held
    finally:
        for one in held:
            one.cancel()


@contextlib.contextmanager
def silent_connections(address, count):
    """Connections on which nothing is said."""
    host, port = split_address(address)
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(socket.create_connection((host, port), 10))
        yield


@pytest.mark.parametrize("method", ["Introduce", "Admit"])
def test_callers_that_say_nothing_do_not_keep_a_node_from_joining(home, method):
    _, peer = home.start_waiting(f"quiet-{method.lower()}")
    shown = shown_certificate(peer, 5.0)
    with contextlib.ExitStack() as stack:
        channels = [stack.enter_context(pinned_channel(peer, shown)) for _ in range(4)]
        with silent_calls(channels, f"/pi_cluster.v1.Enrolment/{method}"):
            done = Admitter(home.authority, home.dialer).admit_named([Peer(peer.address)])
    assert [one.refused for one in done] == [None]


def test_connections_that_say_nothing_do_not_keep_a_node_from_joining_either(home):
    _, peer = home.start_waiting("crowded")
    with silent_connections(peer.address, SILENT):
        done = Admitter(home.authority, home.dialer).admit_named([Peer(peer.address)])
    assert [one.refused for one in done] == [None]


def test_connections_that_say_nothing_do_not_keep_the_operator_from_a_worker(home):
    with silent_connections(home.peer.address, SILENT), NodeClient(home.peer, home.dialer) as node:
        assert node.describe().node_id == home.peer.node_id


def test_who_holds_every_connection_is_spoken_of_and_calls_that_are_open_go_on(home):
    with NodeClient(home.peer, home.dialer) as node:
        assert node.describe().node_id == home.peer.node_id
        with silent_connections(home.peer.address, settings.MAX_CONNECTIONS + 20):
            told = eventually(lambda: _failure(home), bool)
            assert node.describe().node_id == home.peer.node_id
    assert "hangs up before it says anything" in told
    eventually(lambda: _failure(home), lambda failure: not failure)


def _failure(home):
    """Why the operator cannot call the worker over a new connection; empty if that goes well."""
    try:
        who_answers(home.peer, load_credentials(home.config, Role.OPERATOR), 5.0)
    except NodeLost as error:
        return str(error)
    return ""


def test_callers_that_say_nothing_do_not_keep_others_from_a_worker_without_certificates(home):
    _, address = home.cluster.start_worker("plain", "--cluster", home.cluster.name)
    with contextlib.ExitStack() as stack:
        options = [[*CLIENT_OPTIONS, ("pi-cluster.test", n)] for n in range(4)]
        channels = [stack.enter_context(grpc.insecure_channel(address, one)) for one in options]
        with silent_calls(channels, DESCRIBE), NodeClient(Peer(address), PLAIN) as node:
            for _ in range(20):
                assert node.describe().name == "plain"


def test_a_stranger_leaves_few_lines_in_the_log_however_often_he_comes(home):
    """Garbage, HTTP, TLS without a certificate, and connections that end at once."""
    host, port = split_address(home.peer.address)
    before = len(home.worker.error_text)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    def call(number):
        with contextlib.suppress(OSError), socket.create_connection((host, port), 10) as plain:
            if number % 4 == 0:
                plain.sendall(b"\x1b]0;owned\x07" * 20)
            elif number % 4 == 1:
                plain.sendall(b"GET / HTTP/1.1\r\nHost: pi\r\n\r\n")
            elif number % 4 == 2:
                with context.wrap_socket(plain) as connection:
                    connection.recv(1)
            if number % 4 < 2:
                plain.recv(1)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(call, range(800)))
    with NodeClient(home.peer, home.dialer) as node:
        assert node.describe().node_id == home.peer.node_id
    log = home.worker.error_text[before:]
    assert len(log) < 20_000 and "\x1b" not in log
    assert "PEER_DID_NOT_RETURN_A_CERTIFICATE" in log and "HTTP_REQUEST" in log


class Describing(rpc.WorkerServicer):
    def Describe(self, request, context):  # noqa: N802
        return pb.NodeDescription(node_id="here")


@contextlib.contextmanager
def guarded(silent, places=4):
    """A server behind a guard without certificates; yields its address."""
    guard = Guard({DESCRIBE: Rule(frozenset())}, None, places, silent)
    server = grpc.server(ThreadPoolExecutor(32), interceptors=[guard])
    rpc.add_WorkerServicer_to_server(Describing(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


def test_a_call_without_a_message_ends_after_a_time_though_nobody_else_comes():
    with (
        guarded(SilentCalls(most=8, patience_s=0.1)) as address,
        grpc.insecure_channel(address) as channel,
    ):
        held = [channel.stream_stream(DESCRIBE)(never()) for _ in range(3)]
        eventually(lambda: [one.is_active() for one in held], lambda active: not any(active))
        late = channel.stream_stream(DESCRIBE)(never())
        eventually(late.is_active, lambda active: not active)


def test_silent_calls_take_no_places_and_the_longest_silent_makes_room():
    with (
        guarded(SilentCalls(most=3, patience_s=60)) as address,
        grpc.insecure_channel(address) as channel,
    ):
        held = [channel.stream_stream(DESCRIBE)(never()) for _ in range(10)]
        active = eventually(
            lambda: [one.is_active() for one in held], lambda active: sum(active) == 3
        )
        stub = rpc.WorkerStub(channel)
        for _ in range(20):
            assert stub.Describe(pb.DescribeRequest(), timeout=20).node_id == "here"
        assert sum(active) == 3
        for one in held:
            one.cancel()

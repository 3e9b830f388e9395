"""Nodes that tell what would steer a terminal: announced, described, refused, shown harmless."""

import contextlib
import json
import socket
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from zeroconf import ServiceInfo, Zeroconf

from pi_cluster.cluster.discovery.mdns import SERVICE_TYPE
from pi_cluster.cluster.wire.client import NodeClient
from pi_cluster.cluster.wire.options import SERVER_OPTIONS, WIRE_VERSION
from pi_cluster.cluster.wire.peer import Peer
from pi_cluster.protos import pi_cluster_pb2 as pb
from pi_cluster.protos import pi_cluster_pb2_grpc as rpc
from tests.support.hostile import HOSTILE, steering
from tests.support.terminal import Terminal
from tests.support.worker_servers import PLAIN

TOLD = r"\u001b]0;owned"
REFUSALS = {
    grpc.StatusCode.FAILED_PRECONDITION: [("pi-cluster-error", "NodeError")],
    grpc.StatusCode.INTERNAL: [],
    grpc.StatusCode.UNAVAILABLE: [],
}


def filled(message):
    """A message in all of whose texts something hostile stands."""
    for field in message.DESCRIPTOR.fields:
        if field.type == field.TYPE_STRING and field.is_repeated:
            getattr(message, field.name).append(HOSTILE)
        elif field.type == field.TYPE_STRING:
            setattr(message, field.name, HOSTILE)
        elif field.type == field.TYPE_MESSAGE and field.is_repeated:
            filled(getattr(message, field.name).add())
        elif field.type == field.TYPE_MESSAGE:
            filled(getattr(message, field.name))
    return message


class HostileWorker(rpc.WorkerServicer):
    """Describes itself with hostile texts, and refuses everything else with one."""

    def __init__(self, cluster):
        self.described = filled(pb.NodeDescription(wire_version=WIRE_VERSION))
        self.described.cluster = cluster
        self.examined = filled(pb.Examination())
        self.code = grpc.StatusCode.FAILED_PRECONDITION
        self.describes = True

    def Describe(self, request, context):  # noqa: N802
        return self.described if self.describes else self.refuse(context)

    def Examine(self, request, context):  # noqa: N802
        return self.examined

    def refuse(self, context):
        context.set_trailing_metadata(REFUSALS[self.code])
        # gRPC carries what is printable in ASCII and percent signs for the rest.
        context.abort(self.code, HOSTILE.replace("\x00", ""))


def _refusing(self, request, context):
    return self.refuse(context)


for _method in pb.DESCRIPTOR.services_by_name["Worker"].methods:
    if _method.name not in vars(HostileWorker):
        setattr(HostileWorker, _method.name, _refusing)


@contextlib.contextmanager
def serving(servicer, port=0):
    server = grpc.server(ThreadPoolExecutor(8), options=SERVER_OPTIONS)
    rpc.add_WorkerServicer_to_server(servicer, server)
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


@contextlib.contextmanager
def announced(cluster, name, port):
    """By mDNS, as anybody on the network may."""
    info = ServiceInfo(
        SERVICE_TYPE,
        f"h{port}.{SERVICE_TYPE}",
        addresses=[socket.inet_aton("127.0.0.1")],
        port=port,
        properties={"cluster": cluster, "name": name, "version": name[:40]},
    )
    zeroconf = Zeroconf(interfaces=["127.0.0.1"])
    try:
        zeroconf.register_service(info)
        yield
    finally:
        zeroconf.unregister_all_services()
        zeroconf.close()


@pytest.fixture(scope="module")
def home(make_cluster):
    """A cluster whose pipeline was up on a node in whose place a hostile one answers now."""
    with make_cluster() as cluster:
        worker, address = cluster.start_worker("good", "--threads", "1")
        cluster.up("--nodes", address)
        worker.stop()
        servicer = HostileWorker(cluster.name)
        with serving(servicer, int(address.rpartition(":")[2])) as taken:
            assert taken == address
            cluster.hostile, cluster.address = servicer, address
            yield cluster


def sent_by(cluster, *words):
    """What a command sends to a person's terminal, until it ends."""
    env = cluster.env | {"TERM": "xterm-256color"}
    env.pop("NO_COLOR")
    with Terminal(cluster.words(*words), env) as terminal:
        sent = terminal.to_end(within_s=60)
    assert "Traceback" not in sent and "internal error" not in sent, sent
    assert steering(sent) == [], (words, sent)
    assert "\nready: 3 stages" not in sent.replace("\r", "")
    return sent


REFUSED = grpc.StatusCode.FAILED_PRECONDITION


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (REFUSED, ("plan", "--nodes", "{}")),
        (REFUSED, ("up", "--nodes", "{}")),
        (REFUSED, ("doctor", "--nodes", "{}")),
        (REFUSED, ("doctor",)),
        (REFUSED, ("status",)),
        (REFUSED, ("prompt", "--verbose", "--ids", "1")),
        (REFUSED, ("bench", "--prompt-tokens", "8", "--gen-tokens", "2", "--repeat", "1")),
        (grpc.StatusCode.INTERNAL, ("plan", "--nodes", "{}")),
        (grpc.StatusCode.INTERNAL, ("prompt", "hello")),
        (grpc.StatusCode.UNAVAILABLE, ("plan", "--nodes", "{}")),
        (grpc.StatusCode.UNAVAILABLE, ("prompt", "hello")),
    ],
)
def test_nothing_that_a_node_tells_steers_the_terminal_of_whoever_asks(home, code, words):
    home.hostile.code = code
    sent = sent_by(home, *(word.format(home.address) for word in words))
    # What stands behind gRPC's last colon is all that is told of a node that cannot be reached.
    assert TOLD in sent or r"\u" in sent or code is grpc.StatusCode.UNAVAILABLE


def test_not_even_a_node_that_does_not_say_who_it_is(home):
    home.hostile.describes, home.hostile.code = False, grpc.StatusCode.FAILED_PRECONDITION
    try:
        for words in (("plan", "--nodes", home.address), ("doctor",)):
            assert TOLD in sent_by(home, *words)
        sent_by(home, "status")
    finally:
        home.hostile.describes = True


def test_a_name_announced_by_mdns_does_not_either(home):
    port = int(home.address.rpartition(":")[2])
    name = HOSTILE[:120]
    home.hostile.describes = False
    try:
        with announced(home.name, name, port):
            for words in (("plan",), ("up",), ("doctor",)):
                assert TOLD in sent_by(home, *words)
    finally:
        home.hostile.describes = True


def test_json_stays_json_and_holds_no_control_character(home):
    for words in (("status", "--json"), ("doctor", "--json", "--nodes", home.address)):
        sent = sent_by(home, *words)
        assert TOLD.replace("\\", "\\\\") in sent
        json.loads(home.run(*words).out)


def test_every_text_of_an_answer_is_made_fit_to_be_shown(home):
    with NodeClient(Peer(home.address), PLAIN) as client:
        described, examined = client.describe(), client.examine([], 0, False)
    for answer, told in ((described, home.hostile.described), (examined, home.hostile.examined)):
        assert HOSTILE in _texts(told)
        assert all(steering(text) == [] and "\n" not in text for text in _texts(answer))


def _texts(message):
    found = []
    for field, value in message.ListFields():
        values = value if field.is_repeated else [value]
        if field.type == field.TYPE_STRING:
            found += values
        elif field.type == field.TYPE_MESSAGE:
            found += [text for one in values for text in _texts(one)]
    return found

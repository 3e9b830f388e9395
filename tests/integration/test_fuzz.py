"""Random and mutated messages to every method: refused, logged, the worker alive and no larger.

`make fuzz` sends 10 000 to each; by default it is a few hundred.
"""

import contextlib
import random
import socket
import ssl
import string
from contextlib import contextmanager
from dataclasses import asdict

import grpc
import psutil
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message_factory import GetMessageClass

from pi_cluster.cluster import settings
from pi_cluster.cluster.store.store import Store
from pi_cluster.cluster.trust.authority import ClusterAuthority
from pi_cluster.cluster.trust.identity import Role
from pi_cluster.cluster.trust.tokens import TokenBook
from pi_cluster.cluster.wire.client import NodeClient
from pi_cluster.cluster.wire.handshake import shown_certificate
from pi_cluster.cluster.wire.options import WIRE_VERSION
from pi_cluster.cluster.wire.peer import Peer, split_address
from pi_cluster.cluster.wire.secure_dialing import SecureDialer
from pi_cluster.deploy.membership.admission import pinned_channel
from pi_cluster.protos import pi_cluster_pb2 as pb
from pi_cluster.protos import pi_cluster_pb2_grpc as rpc
from tests.support.authorities import certify_node, live
from tests.support.checkpoints import small_config, write_hugging_face_checkpoint
from tests.support.cluster_process import eventually
from tests.support.hostile import HOSTILE, steering
from tests.support.secure_calls import METHODS, secure_channel
from tests.support.stores import shard

ANSWERED = {
    grpc.StatusCode.OK,
    grpc.StatusCode.FAILED_PRECONDITION,  # our own errors
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNIMPLEMENTED,  # Enrolment at a worker, and the other way round
    grpc.StatusCode.RESOURCE_EXHAUSTED,  # larger than any message
}
"""How a call with a bad message may end; an exception that we did not foresee is UNKNOWN."""
MAX_GROWTH_BYTES = 64 << 20
AT_ONCE = 4
EVERY_ROLE = [None, Role.NODE, Role.OPERATOR]

_EXTREMES = [0, 1, 2, 127, 128, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1]


class Fuzz:
    """Messages for one method, the same ones in every run."""

    def __init__(self, method, genuine=()):
        """``genuine`` is what a friendly caller would send; it is sent with changes too."""
        self._random = random.Random(method)
        self._kind = GetMessageClass(METHODS[method].input_type)
        self._genuine = [message.SerializeToString() for message in genuine]

    def message(self):
        """Noise, a well-formed message of nonsense, or one with some bytes changed."""
        choice = self._random.random()
        if choice < 0.2:
            return self._random.randbytes(self._random.choice([1, 5, 30, 300, 20_000]))
        data = self._filled(self._kind(), 0).SerializeToString()
        return data if choice < 0.6 else self._mutated(data)

    def messages(self):
        """What one call sends: mostly one message, sometimes none, or several."""
        if self._genuine and self._random.random() < 0.5:
            sent = list(self._genuine)
            changed = self._random.randrange(len(sent))
            sent[changed] = self._mutated(sent[changed])
            return sent
        return [self.message() for _ in range(self._random.choice([0, 1, 1, 1, 1, 2, 4]))]

    def _mutated(self, data):
        changed = bytearray(data or b"\0")
        for _ in range(self._random.choice([1, 2, 8])):
            at = self._random.randrange(len(changed))
            match self._random.randrange(4):
                case 0:
                    changed[at] ^= 1 << self._random.randrange(8)
                case 1:
                    changed[at:at] = self._random.randbytes(3)
                case 2:
                    del changed[at:]
                    changed += b"\0"
                case _:
                    changed += changed[at:]
        return bytes(changed)

    def _filled(self, message, depth):
        for field in message.DESCRIPTOR.fields:
            if self._random.random() < 0.3 or depth > 4:
                continue
            if field.is_repeated:
                for _ in range(self._random.choice([0, 1, 3])):
                    if field.message_type:
                        self._filled(getattr(message, field.name).add(), depth + 1)
                    else:
                        getattr(message, field.name).append(self._value(field))
            elif field.message_type:
                self._filled(getattr(message, field.name), depth + 1)
            else:
                setattr(message, field.name, self._value(field))
        return message

    def _value(self, field):
        bits = {FieldDescriptor.TYPE_UINT32: 32, FieldDescriptor.TYPE_UINT64: 64}
        match field.type:
            case FieldDescriptor.TYPE_STRING:
                return self._text()
            case FieldDescriptor.TYPE_BYTES:
                return self._random.randbytes(self._random.choice([0, 1, 32, 33, 4096]))
            case FieldDescriptor.TYPE_BOOL:
                return self._random.random() < 0.5
            case FieldDescriptor.TYPE_DOUBLE:
                return self._random.choice([0.0, -1.0, 1e308, float("inf"), float("nan")])
            case kind:
                small = self._random.randrange(20)
                return self._random.choice([small, *_EXTREMES]) % 2 ** bits[kind]

    def _text(self):
        return self._random.choice(
            [
                "",
                "../" * 20 + "etc/passwd",
                "/dev/zero",
                "a" * 64,
                "0" * 64,
                "127.0.0.1:1",
                "{}",
                '{"version": 1}',
                "[" * 5_000,
                "\0",
                "%s%n",
                HOSTILE,
                "pi\nready: 3 stages",
                "".join(self._random.choices(string.printable, k=40)),
            ]
        )


def call_with_all(channel, method, fuzz, count, also):
    """Make so many calls, a few at once; returns how often each ended how."""
    stub, open_calls, seen = channel.stream_stream(method), [], {}
    for _ in range(count):
        open_calls.append(stub(iter(fuzz.messages()), timeout=30))
        if len(open_calls) == AT_ONCE:
            _take(open_calls, seen)
    _take(open_calls, seen)
    assert seen.keys() <= ANSWERED | also, (method, seen)
    return seen


def _take(calls, seen):
    while calls:
        one = calls.pop()
        try:
            for _ in one:
                pass
        except grpc.RpcError:
            pass
        seen[one.code()] = seen.get(one.code(), 0) + 1


@pytest.fixture(scope="module")
def home(make_cluster):
    """A cluster with certificates, and its authority."""
    with make_cluster() as cluster:
        assert cluster.call("init").code == 0
        with cluster.environment():
            config = settings.cluster_config(cluster.name)
        write_hugging_face_checkpoint(cluster.folder / "checkpoint", small_config(n_layers=2))
        shard(cluster.folder / "checkpoint", cluster.folder / "store")
        yield cluster, ClusterAuthority(config, cluster.name)


@pytest.fixture(scope="module")
def worker(home):
    """A worker with a stage loaded; its address and its process."""
    cluster, authority = home
    node_id = certify_node(authority, cluster.folder / "fuzzed", "fuzzed")
    running, address = cluster.start_worker("fuzzed", "--threads", "1")
    peer = Peer(address, node_id, "fuzzed")
    cluster.store = Store(cluster.folder / "store")
    assert cluster.call("up", str(cluster.store.path), "--nodes", address).code == 0
    return running, peer


@pytest.fixture(scope="module")
def another(home, tmp_path_factory):
    """Another node's data directory."""
    folder = tmp_path_factory.mktemp("another")
    certify_node(home[1], folder, "another")
    return folder / "credentials"


@contextmanager
def unharmed(running):
    """It is alive after the block, not much larger, and met nothing that it did not foresee.

    Its log holds nothing that would steer the terminal of whoever reads it.
    """
    process, told = psutil.Process(running.process.pid), len(running.error_text)
    before = process.memory_info().rss
    yield
    assert running.process.poll() is None
    assert process.memory_info().rss - before < MAX_GROWTH_BYTES
    log = running.error_text[told:]
    assert "Traceback" not in log, log[log.index("Traceback") :][:3_000]
    assert steering(log) == []


@pytest.fixture(scope="module")
def genuine(home, worker):
    """What a friendly operator sends, by method."""
    cluster, authority = home
    record, store = cluster.record(), cluster.store
    file = record.manifest.files[-1]
    data = store.path_of(file).read_bytes()
    load = pb.LoadStageRequest(
        epoch=record.epoch,
        manifest=record.manifest.to_json(),
        layers={"start": 0, "stop": record.manifest.n_layers},
        **asdict(record.limits),
    )
    return {
        "FindShards": [pb.FindShardsRequest(sha256=[file.sha256])],
        "PutShard": [
            pb.ShardPart(sha256=file.sha256, size_bytes=file.size_bytes),
            *(pb.ShardPart(data=data[at : at + (1 << 19)]) for at in range(0, len(data), 1 << 19)),
        ],
        "GetShard": [pb.GetShardRequest(sha256=file.sha256)],
        "LoadStage": [load],
        "UnloadStage": [pb.UnloadStageRequest(epoch=1)],
        "RunSteps": [header(record, "nobody")],
        "CollectResults": [pb.CollectResultsRequest(wire_version=WIRE_VERSION, epoch=record.epoch)],
        "Certify": [authority.news.to_wire()],
        "Introduce": [pb.Challenge(nonce=bytes(32))],
        "Admit": [authority.news.to_wire()],
    }


def header(record, session):
    return pb.StepMessage(
        header=pb.SessionHeader(wire_version=WIRE_VERSION, epoch=record.epoch, session=session)
    )


@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("role", EVERY_ROLE, ids=["nobody", "node", "operator"])
@pytest.mark.parametrize("method", METHODS)
def test_a_worker_survives_whatever_a_method_is_sent(
    home, worker, another, genuine, method, role, pytestconfig
):
    (cluster, authority), (running, peer) = home, worker
    folder = {None: None, Role.NODE: another, Role.OPERATOR: authority.folder}[role]
    also = {grpc.StatusCode.UNAVAILABLE} if role is None else set()
    count = pytestconfig.getoption("--fuzz-messages")
    # Without a certificate each call fails alike, at the handshake.
    count = count if role is Role.OPERATOR else max(20, count // 10)
    with (
        unharmed(running),
        secure_channel(
            peer.address, peer.node_id, folder, role or Role.NODE, authority.authorities_pem
        ) as channel,
    ):
        fuzz = Fuzz(method, genuine.get(method.rpartition("/")[2], ()))
        seen = call_with_all(channel, method, fuzz, count, also)
    if role is None:
        assert seen.keys() == {grpc.StatusCode.UNAVAILABLE}
    with NodeClient(peer, SecureDialer(live(authority.folder, Role.OPERATOR))) as client:
        assert client.describe().node_id == peer.node_id
    outside = {path.name for path in cluster.folder.iterdir()}
    ours = {"fuzzed", "state", "data", "config", "waits", "checkpoint", "store"}
    assert outside <= ours | {name for name in outside if name.endswith(".stderr")}


@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("method", METHODS)
def test_a_node_that_waits_to_join_survives_it_too(waiting, genuine, method, pytestconfig):
    running, peer = waiting
    name = method.rpartition("/")[2]
    count = pytestconfig.getoption("--fuzz-messages")
    with (
        unharmed(running),
        pinned_channel(peer, shown_certificate(peer, 5.0)) as channel,
    ):
        call_with_all(channel, method, Fuzz(method, genuine.get(name, ())), count, set())


@pytest.fixture(scope="module")
def waiting(home):
    """A node with a token and no certificate."""
    cluster, authority = home
    token = TokenBook(authority.folder).create(authority.fingerprint, 3_600)
    node = cluster.start(
        *("join", token.text, "--foreground", "--no-mdns", "--listen", "127.0.0.1:0"),
        *("--data-dir", str(cluster.folder / "waits")),
    )
    return node, Peer(node.read_line().split()[1])


@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("place", ["worker", "waiting"])
def test_bytes_that_are_no_call_at_all_are_survived_and_leave_few_lines(
    place, request, pytestconfig
):
    """Noise, other protocols, TLS broken off anywhere; some say nothing and wait."""
    running, peer = request.getfixturevalue(place)
    drawn, told = random.Random(place), len(running.error_text)
    hello = _client_hello()
    with unharmed(running), contextlib.ExitStack() as silent:
        for _ in range(10 * pytestconfig.getoption("--fuzz-messages")):
            plain = socket.create_connection(split_address(peer.address), 10)
            with contextlib.suppress(OSError):
                plain.sendall(_opening(drawn, hello))
            if drawn.random() < 0.02:
                silent.enter_context(plain)
            else:
                plain.close()
        # While so many come at once, it may have no room for one more.
        eventually(lambda: shown_certificate(peer, 5.0), bool, within_s=30)
    assert len(running.error_text) - told < 40_000


def _client_hello():
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing).do_handshake()
    return outgoing.read()


def _opening(drawn, hello):
    match drawn.randrange(5):
        case 0:
            return drawn.randbytes(drawn.choice([1, 5, 300, 20_000]))
        case 1:
            return b"GET /" + HOSTILE.encode() + b" HTTP/1.1\r\n\r\n"
        case 2:
            return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + drawn.randbytes(60)
        case 3:
            return hello[: drawn.randrange(len(hello))]
        case _:
            changed = bytearray(hello)
            changed[drawn.randrange(len(hello))] ^= 1 << drawn.randrange(8)
            return bytes(changed)


@pytest.mark.timeout(3_600)
def test_a_session_survives_steps_of_nonsense(home, worker, pytestconfig):
    """With its results collected, so that every message reaches the stage."""
    (cluster, authority), (running, peer) = home, worker
    path = str(cluster.store.path)
    assert cluster.call("up", path, "--nodes", peer.address, "--texts", "2").code == 0
    record, drawn = cluster.record(), random.Random("steps")
    step = pb.Step(step=1, chunks=[{"sequence": 1, "rows": 2, "logit_rows": 1}], ids={"id": [1, 2]})
    fuzz = Fuzz("/pi_cluster.v1.Worker/RunSteps", [pb.StepMessage(step=step)])
    served = 0
    with (
        unharmed(running),
        secure_channel(peer.address, peer.node_id, authority.folder, Role.OPERATOR) as channel,
    ):
        stub = rpc.WorkerStub(channel)
        run_steps = channel.stream_stream("/pi_cluster.v1.Worker/RunSteps")
        for number in range(pytestconfig.getoption("--fuzz-messages")):
            session = f"fuzz-{number}"
            results = stub.CollectResults(
                pb.CollectResultsRequest(
                    wire_version=WIRE_VERSION, epoch=record.epoch, session=session
                ),
                timeout=30,
            )
            assert next(results).ready
            messages = [header(record, session).SerializeToString()]
            messages += [step_of(step, drawn) if drawn.random() < 0.5 else fuzz.message()]
            messages += fuzz.messages()
            call = run_steps(iter(messages), timeout=30)
            ended = {_code_of(call), _code_of(results)}
            assert ended <= ANSWERED, (number, call.details(), results.details(), messages)
            served += ended == {grpc.StatusCode.OK}
    assert served, "no session went well, so none can have reached the stage"


def step_of(step, drawn):
    """A step that is nearly right: one number in it is changed."""
    changed = pb.Step()
    changed.CopyFrom(step)
    where = drawn.choice([changed, *changed.chunks, changed.ids])
    match where:
        case pb.TokenIds():
            where.id[0] = drawn.choice([0, 1, 1 << 20, 2**32 - 1])
        case pb.Chunk():
            fields = ("sequence", "start", "rows", "logit_rows", "candidates", "prefix_of")
            setattr(where, drawn.choice(fields), drawn.choice([0, 1, 2, 3, 1 << 20, 2**31 - 1]))
        case _:
            where.step = drawn.choice([0, 1, 2**64 - 1])
    return pb.StepMessage(step=changed).SerializeToString()


def _code_of(call):
    try:
        for _ in call:
            pass
    except grpc.RpcError:
        pass
    return call.code()


def test_after_all_that_the_model_still_answers(home, worker):
    cluster, _ = home
    outcome = cluster.call("up", str(cluster.store.path), "--nodes", worker[1].address)
    assert outcome.code == 0, outcome
    assert len(cluster.prompt("--ids", "1", "--max-tokens", "3")["ids"]) == 3

"""Joining by a token: real nodes that wait, and everybody who tries to use their waiting."""

import datetime
import json
import re
import secrets
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import pytest

from pi_cluster import storyteller
from pi_cluster.cluster import settings
from pi_cluster.cluster.atomic_file import write_bytes
from pi_cluster.cluster.errors import AccessError
from pi_cluster.cluster.trust import certificates, signing
from pi_cluster.cluster.trust.authority import ClusterAuthority
from pi_cluster.cluster.trust.certificates import utc_now
from pi_cluster.cluster.trust.credentials import load_credentials
from pi_cluster.cluster.trust.identity import Identity, Role
from pi_cluster.cluster.trust.issued import Certification
from pi_cluster.cluster.trust.tokens import Token, TokenBook, introduction_proof
from pi_cluster.cluster.wire.client import NodeClient
from pi_cluster.cluster.wire.handshake import shown_certificate
from pi_cluster.cluster.wire.options import SERVER_OPTIONS
from pi_cluster.cluster.wire.peer import Peer
from pi_cluster.cluster.wire.secure_dialing import SecureDialer
from pi_cluster.deploy.membership.admission import Admitter, pinned_channel
from pi_cluster.protos import pi_cluster_pb2 as pb
from pi_cluster.protos import pi_cluster_pb2_grpc as rpc
from pi_cluster.worker.trust.enrolment import Enrolment, enrolment_server, save_token
from pi_cluster.worker.trust.node_credentials import credentials_folder, is_certified
from tests.support.authorities import certify_node, live
from tests.support.cluster_process import eventually
from tests.support.stores import shard


class Home:
    """A cluster with certificates and nodes that wait to join it."""

    def __init__(self, cluster):
        self.cluster = cluster
        assert cluster.call("init").code == 0
        with cluster.environment():
            self.config = settings.cluster_config(cluster.name)
        self.authority = ClusterAuthority(self.config, cluster.name)
        self.book = TokenBook(self.config)
        self.admitter = Admitter(self.authority, self.dialer)
        self._count = 0

    @property
    def dialer(self):
        return SecureDialer(live(self.config, Role.OPERATOR))

    def token(self, valid_s=600.0):
        return self.book.create(self.authority.fingerprint, valid_s)

    def start_waiting(self, token, *words):
        """A node that waits; its process, and where."""
        self._count += 1
        name = f"pi{self._count}"
        node = self.cluster.start(
            *("join", token.text, "--foreground", "--listen", "127.0.0.1:0"),
            *("--name", name, "--data-dir", str(self.cluster.folder / name)),
            *(words or ("--no-mdns",)),
        )
        joining, address, node_id = node.read_line().split()
        assert joining == "joining"
        return node, Peer(address, node_id, name)

    def data_dir(self, peer):
        return self.cluster.folder / peer.name

    def admit(self, peer):
        """What became of one node; none if it does not wait."""
        done = self.admitter.admit_named([Peer(peer.address)])
        return done[0].refused if done else "does not wait"


@pytest.fixture(scope="module")
def home(make_cluster):
    with make_cluster() as cluster:
        yield Home(cluster)


@pytest.fixture
def waiting(home):
    """A node that waits, with its token."""
    token = home.token()
    node, peer = home.start_waiting(token)
    yield node, peer, token
    node.stop()


@contextmanager
def enrolment_by(servicer, key, certificate):
    """Somebody's own enrolment service, with any key and certificate."""
    server = grpc.server(ThreadPoolExecutor(2), options=SERVER_OPTIONS)
    rpc.add_EnrolmentServicer_to_server(servicer, server)
    shown = (certificates.key_pem(key), certificates.certificate_pem(certificate))
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([shown]))
    server.start()
    try:
        yield Peer(f"127.0.0.1:{port}")
    finally:
        server.stop(None).wait()


@contextmanager
def enrolment_stub(peer):
    with pinned_channel(peer, shown_certificate(peer, 5.0)) as channel:
        yield rpc.EnrolmentStub(channel)


class Scripted(rpc.EnrolmentServicer):
    """Answers with whatever it is told to, and remembers what it is given."""

    def __init__(self, introduce):
        self._introduce = introduce
        self.admitted = []

    def Introduce(self, request, context):  # noqa: N802
        return self._introduce(request)

    def Admit(self, request, context):  # noqa: N802
        self.admitted.append(request)
        return pb.CertifyReply()


def self_signed(node_id="f00d"):
    key = signing.new_key()
    return key, signing.make_self_signed(key, node_id, utc_now())


def test_a_token_and_one_up_make_a_node_of_a_pi(home, golden, tmp_path):
    """Found by mDNS; from the line that is pasted to the ids that transformers continues with."""
    shard(storyteller.checkpoint_path(), tmp_path / "store", "f32")
    made = home.cluster.call("token", "create", "--count", "2")
    lines = made.out.split("\n")[:-1]
    tokens = [Token.parse(re.search(r"join (\S+)", line)[1]) for line in lines]
    assert all(line.startswith("sudo pi-cluster join pc1.") for line in lines)
    _, one = home.start_waiting(tokens[0], "--threads", "1")
    _, two = home.start_waiting(tokens[1], "--threads", "1")
    outcome = home.cluster.call("up", str(tmp_path / "store"))
    assert outcome.code == 0, outcome
    assert f"admitted {one.name}" in outcome.err and f"admitted {two.name}" in outcome.err
    ids, expected = golden
    asked = ",".join(map(str, ids))
    answer = home.cluster.prompt("--ids", asked, "--temperature", "0", "--max-tokens", "40")
    assert answer["ids"] == expected[:40]
    assert [entry.state for entry in home.book.entries[:2]] == ["used", "used"]
    listed = home.cluster.call("node", "list").out
    assert all(word in listed for word in (one.node_id, two.node_id, "good"))
    for peer, token in ((one, tokens[0]), (two, tokens[1])):
        folder = credentials_folder(home.data_dir(peer))
        assert folder.stat().st_mode & 0o777 == 0o700
        assert (folder / "node.key").stat().st_mode & 0o777 == 0o600
        assert not (folder / "token").exists()
        assert token.text.split(".")[2] not in home.cluster.call("token", "list").out
    assert "already up" in home.cluster.call("up", str(tmp_path / "store")).err
    home.cluster.call("down")
    home.cluster.stop_commands()


def test_where_mdns_does_not_get_through_nodes_are_admitted_by_address(home, waiting):
    _, peer, _ = waiting
    outcome = home.cluster.call("plan", "--nodes", peer.address)
    assert outcome.code == 0 and f"admitted {peer.name} ({peer.address})" in outcome.err
    with NodeClient(peer, home.dialer) as client:
        assert client.describe().name == peer.name


def test_a_node_that_waits_starts_as_a_worker_at_once_and_again_later(home, waiting):
    node, peer, _ = waiting
    assert home.admit(peer) is None
    assert node.read_lines(2)[1] == f"ready {peer.address} {peer.node_id}"
    assert home.admit(peer) == "does not wait"
    node.stop()
    again = home.cluster.start(
        *("worker", "--no-mdns", "--listen", peer.address, "--data-dir", str(home.data_dir(peer)))
    )
    assert again.read_line() == f"ready {peer.address} {peer.node_id}"


def test_a_node_that_is_part_of_a_cluster_does_not_join_another(home, waiting):
    _, peer, _ = waiting
    assert home.admit(peer) is None
    again = home.cluster.call("join", home.token().text, "--data-dir", str(home.data_dir(peer)))
    assert again.code == 1 and "part of a cluster already" in again.err


def test_a_node_leaves_once_its_worker_has_ended_and_takes_only_its_own_along(home, waiting):
    node, peer, _ = waiting
    folder = home.data_dir(peer)
    assert home.admit(peer) is None
    assert node.read_lines(2)[1].startswith("ready ")
    leave = ("leave", "--data-dir", str(folder))
    running = home.cluster.call(*leave)
    assert running.code == 1 and f"`kill {node.process.pid}`" in running.err
    assert is_certified(folder)
    node.stop()
    (folder / "notes.txt").write_text("mine")
    left = home.cluster.call(*leave)
    assert left.code == 0, left
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    revoke = re.search(r"pi-cluster (node revoke \w+) --cluster", left.err)
    assert revoke is not None and peer.node_id in revoke[1]
    assert home.cluster.call(*revoke[1].split(), "--nodes", "127.0.0.1:1").code == 0
    again = home.cluster.call(*leave)
    assert again.code == 1 and f"no node in {folder} has joined" in again.err


def test_of_a_node_that_served_nothing_is_left(home, waiting, tmp_path):
    node, peer, _ = waiting
    shard(storyteller.checkpoint_path(), tmp_path / "store", "q4")
    up = home.cluster.call("up", str(tmp_path / "store"), "--nodes", peer.address)
    assert up.code == 0, up
    assert (home.data_dir(peer) / "stage.pb").exists()
    node.stop()
    assert home.cluster.call("leave", "--data-dir", str(home.data_dir(peer))).code == 0
    assert not home.data_dir(peer).exists()
    home.cluster.call("down")


def test_a_node_that_was_never_admitted_leaves_and_its_token_is_spoken_of(home, waiting):
    node, peer, _ = waiting
    node.stop()
    left = home.cluster.call("leave", "--data-dir", str(home.data_dir(peer)))
    assert left.code == 0 and "never admitted" in left.err and "token list" in left.err
    assert not home.data_dir(peer).exists()


def test_where_nothing_has_joined_there_is_nothing_to_leave_and_nothing_is_removed(home, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    for folder in (tmp_path, tmp_path / "nowhere"):
        outcome = home.cluster.call("leave", "--data-dir", str(folder))
        assert outcome.code == 1 and "has joined cluster" in outcome.err
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_guessed_secret_does_not_get_in(home):
    real = home.token()
    guessed = Token(real.id, secrets.token_bytes(32), real.authority)
    node, peer = home.start_waiting(guessed)
    assert "does not know the secret" in str(home.admit(peer))
    assert "none of this cluster's" in str(
        home.admit(home.start_waiting(Token("0" * 8, real.secret, real.authority))[1])
    )
    assert next(entry for entry in home.book.entries if entry.id == real.id).state == "open"
    node.stop()


def test_a_token_that_was_used_expired_or_revoked_does_not_let_another_in(home, waiting):
    _, first, token = waiting
    assert home.admit(first) is None
    assert f"used by node {first.node_id} before" in str(home.admit(home.start_waiting(token)[1]))
    late = home.token(valid_s=1e-3)
    assert "has expired" in str(home.admit(home.start_waiting(late)[1]))
    revoked = home.token()
    assert home.cluster.call("token", "revoke", revoked.id).code == 0
    assert "was revoked" in str(home.admit(home.start_waiting(revoked)[1]))


def test_a_recorded_introduction_is_worth_nothing_a_second_time(home, waiting):
    """Not even to who has the node's key, which here is taken from its disk."""
    _, peer, _ = waiting
    with enrolment_stub(peer) as stub:
        recorded = stub.Introduce(pb.Challenge(nonce=bytes(32)))
    pem = (credentials_folder(home.data_dir(peer)) / "node.key.next").read_bytes()
    key = certificates.read_key(pem)
    certificate = signing.make_self_signed(key, peer.node_id, utc_now())
    replaying = Scripted(lambda _: recorded)
    with enrolment_by(replaying, key, certificate) as replayer:
        assert "does not know the secret" in str(home.admit(replayer))
    assert replaying.admitted == []


def test_somebody_between_who_relays_with_his_own_key_is_noticed(home, waiting):
    _, peer, token = waiting
    with enrolment_stub(peer) as stub:
        relaying = Scripted(stub.Introduce)
        with enrolment_by(relaying, *self_signed(peer.node_id)) as between:
            refused = home.admit(between)
    assert "another key than its TLS connection" in str(refused)
    assert relaying.admitted == []
    assert next(entry for entry in home.book.entries if entry.id == token.id).state == "open"


def test_somebody_between_who_puts_his_own_request_in_is_noticed(home, waiting):
    _, peer, _ = waiting
    key, certificate = self_signed(peer.node_id)
    with enrolment_stub(peer) as stub:

        def changed(challenge):
            introduction = stub.Introduce(challenge)
            introduction.signing_request = signing.make_signing_request(key, peer.node_id)
            return introduction

        relaying = Scripted(changed)
        with enrolment_by(relaying, key, certificate) as between:
            assert "does not know the secret" in str(home.admit(between))
    assert relaying.admitted == []


def test_a_token_does_not_let_its_holder_pose_as_a_node_that_is_in(home, tmp_path):
    victim = certify_node(home.authority, tmp_path / "victim", "victim")
    token = home.token()
    data_dir = home.cluster.folder / "poser"
    data_dir.mkdir()
    write_bytes(data_dir / "node.json", json.dumps({"node_id": victim}).encode())
    node = home.cluster.start(
        *("join", token.text, "--foreground", "--no-mdns", "--listen", "127.0.0.1:0"),
        *("--data-dir", str(data_dir)),
    )
    peer = Peer(node.read_line().split()[1])
    assert "has a certificate already" in str(home.admit(peer))


@pytest.mark.parametrize("node_id", ["", "any", "a/b", "x" * 500, "A B", "../../etc"])
def test_an_impossible_id_is_refused_before_the_token_is_used(home, node_id):
    token = home.token()
    key, certificate = self_signed()

    def introduce(challenge):
        introduction = pb.Introduction(
            node_id=node_id,
            token_id=token.id,
            signing_request=signing.make_signing_request(key, "f00d"),
        )
        introduction.proof = introduction_proof(token.secret, challenge.nonce, introduction)
        return introduction

    with enrolment_by(Scripted(introduce), key, certificate) as peer:
        assert isinstance(home.admit(peer), AccessError)
    assert next(entry for entry in home.book.entries if entry.id == token.id).state == "open"


def test_a_node_takes_a_certificate_only_from_the_authority_that_its_token_pins(
    home, waiting, tmp_path
):
    node, peer, _ = waiting
    name = home.cluster.name
    rogue = ClusterAuthority.create(tmp_path / name, name)
    identity = Identity(name, Role.NODE, peer.node_id)
    with enrolment_stub(peer) as stub:
        request = stub.Introduce(pb.Challenge(nonce=bytes(32))).signing_request
        by_rogue = rogue.issue(request, identity, "mine")
        pinned = home.authority.authorities_pem
        others = Identity(name, Role.NODE, "another")
        own_key = signing.make_signing_request(signing.new_key(), peer.node_id)
        attempts = [
            (by_rogue, "token pins"),
            (Certification(by_rogue.certificate, pinned, by_rogue.revocations), "not signed"),
            (
                Certification(
                    by_rogue.certificate,
                    pinned + rogue.authorities_pem,
                    home.authority.revocations_pem,
                ),
                "not signed",
            ),
            (home.authority.issue(own_key, Identity(name, Role.NODE, "third"), "x"), "is for"),
            (home.authority.issue(request, others, "x"), "is for"),
            (Certification(), "no certificate"),
        ]
        for given, why in attempts:
            with pytest.raises(grpc.RpcError) as refused:
                stub.Admit(given.to_wire())
            assert why in refused.value.details()
    eventually(lambda: node.error_text, lambda text: "refused to be admitted" in text)
    assert not (credentials_folder(home.data_dir(peer)) / "node.pem").exists()
    assert home.admit(peer) is None
    held = load_credentials(credentials_folder(home.data_dir(peer)), Role.NODE)
    assert held.authorities == [home.authority.certificate]


def test_an_admission_whose_answer_was_lost_is_simply_done_again(home, waiting):
    _, peer, token = waiting
    quick = Admitter(home.authority, home.dialer, start_timeout_s=0.1)
    with enrolment_stub(peer) as stub:
        lossy = Scripted(stub.Introduce)
        pem = (credentials_folder(home.data_dir(peer)) / "node.key.next").read_bytes()
        key = certificates.read_key(pem)
        shown = signing.make_self_signed(key, peer.node_id, utc_now())
        with enrolment_by(lossy, key, shown) as between:
            quick.admit_named([between])
    assert len(lossy.admitted) == 1
    assert next(entry for entry in home.book.entries if entry.id == token.id).state == "used"
    assert home.admit(peer) is None


def test_a_node_whose_clock_is_far_behind_says_so_and_can_be_admitted_later(
    home, tmp_path, monkeypatch
):
    token = home.token()
    save_token(tmp_path, token.text)
    enrolment = Enrolment(tmp_path, home.cluster.name, "late")
    with enrolment_server(enrolment) as server:
        port = server.add_secure_port("127.0.0.1:0", enrolment.server_credentials)
        server.start()
        peer = Peer(f"127.0.0.1:{port}")
        quick = Admitter(home.authority, home.dialer, start_timeout_s=0.1)
        with monkeypatch.context() as patched:
            behind = utc_now() - datetime.timedelta(days=2)
            patched.setattr("pi_cluster.cluster.trust.installing.utc_now", lambda: behind)
            refused = str(quick.admit_named([peer])[0].refused)
        assert "does not take its certificate" in refused and "timedatectl" in refused
        assert not enrolment.admitted.is_set()
        quick.admit_named([peer])
        assert enrolment.admitted.is_set()


def test_a_nonce_of_another_length_is_refused(waiting):
    _, peer, _ = waiting
    with enrolment_stub(peer) as stub:
        for nonce in (b"", bytes(31), bytes(64)):
            with pytest.raises(grpc.RpcError, match="32 bytes"):
                stub.Introduce(pb.Challenge(nonce=nonce))


def test_a_text_that_is_no_token_is_refused_and_not_repeated(home):
    secret = home.token().text[:-5]
    for words in (("join", secret), ("join", "pc1.abc")):
        outcome = home.cluster.call(*words)
        assert outcome.code == 1 and "no join token" in outcome.err
        assert secret[15:50] not in outcome.err


def test_cloud_init_user_data_is_printed_for_each_token(home):
    made = home.cluster.call("token", "create", "--cloud-init", "--count", "2", "--valid", "2d")
    assert made.code == 0 and made.out.count("#cloud-config\n") == 2
    assert f"--cluster {home.cluster.name}" in made.out
    wrong = home.cluster.call("token", "create", "--valid", "90d")
    assert wrong.code == 2 and "30d" in wrong.err

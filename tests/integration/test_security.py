"""Real workers under TLS, and everybody who is to be kept out of them."""

import base64
import datetime
import ipaddress
import json
import queue
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import product

import grpc
import ifaddr
import pytest

from pi_cluster.cluster import settings
from pi_cluster.cluster.errors import AccessError, HostError, NodeError, NodeLost
from pi_cluster.cluster.trust.authority import ClusterAuthority
from pi_cluster.cluster.trust.credentials import load_credentials
from pi_cluster.cluster.trust.identity import Identity, Role
from pi_cluster.cluster.trust.issued import Certification
from pi_cluster.cluster.trust.roles import WORKER_RULES
from pi_cluster.cluster.wire.client import NodeClient
from pi_cluster.cluster.wire.dialing import PlainDialer
from pi_cluster.cluster.wire.options import SERVER_OPTIONS
from pi_cluster.cluster.wire.peer import Peer
from pi_cluster.cluster.wire.secure_dialing import SecureDialer
from pi_cluster.coordinator.records.known_hosts import Host
from pi_cluster.deploy.hosts.certificates_over_ssh import certify
from pi_cluster.protos import pi_cluster_pb2 as pb
from pi_cluster.protos import pi_cluster_pb2_grpc as rpc
from pi_cluster.worker.trust.places import MAX_CALLS_OF
from tests.support.authorities import certify_node, credentials_of, dated_credentials, live
from tests.support.cluster_process import eventually
from tests.support.secure_calls import METHODS, call, secure_channel
from tests.support.worker_servers import PLAIN

YEAR = datetime.timedelta(days=400)


class Secured:
    """A cluster with certificates, one worker by hand, and somebody in each role."""

    def __init__(self, cluster, folder):
        self.cluster = cluster
        outcome = cluster.run("init")
        assert outcome.code == 0, outcome
        with cluster.environment():
            config = settings.cluster_config(cluster.name)
        self.authority = ClusterAuthority(config, cluster.name)
        self.node_id = certify_node(self.authority, cluster.folder / "guarded", "guarded")
        self.worker, self.address = cluster.start_worker("guarded")
        self.peer = Peer(self.address, self.node_id, "guarded")
        self.folders = {
            Role.OPERATOR: config,
            Role.COORDINATOR: credentials_of(
                self.authority, folder / "laptop", Role.COORDINATOR, "laptop"
            ),
            Role.HEALER: credentials_of(self.authority, folder / "mender", Role.HEALER, "mender"),
            Role.NODE: credentials_of(self.authority, folder / "other", Role.NODE, "other"),
        }

    def client(self, folder, role, peer=None):
        return NodeClient(peer or self.peer, SecureDialer(live(folder, role)))

    @property
    def operator(self):
        return self.client(self.folders[Role.OPERATOR], Role.OPERATOR)

    @contextmanager
    def channel(self, folder, role):
        with secure_channel(
            self.address, self.node_id, folder, role, self.authority.authorities_pem
        ) as channel:
            yield channel

    def is_well(self):
        with self.operator as client:
            return client.describe().node_id == self.node_id

    def log_says(self, pattern):
        eventually(lambda: self.worker.error_text, lambda text: re.search(pattern, text))


@pytest.fixture(scope="module")
def secured(make_cluster, tmp_path_factory):
    with make_cluster() as cluster:
        yield Secured(cluster, tmp_path_factory.mktemp("people"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory, secured):
    """The operator of another cluster that has the same name."""
    name = secured.cluster.name
    return ClusterAuthority.create(tmp_path_factory.mktemp("stranger") / name, name)


def kept_out(secured, folder, role, *, logged):
    """The worker refuses the connection itself, and its log tells why."""
    with secured.channel(folder, role) as channel:
        for method in METHODS:
            code, _ = call(channel, method, [b""])
            assert code is grpc.StatusCode.UNAVAILABLE, method
    secured.log_says(logged)
    assert secured.is_well()


def test_everybody_in_a_role_may_describe(secured):
    for role, folder in secured.folders.items():
        with secured.client(folder, role) as client:
            about = client.describe()
        assert about.node_id == secured.node_id
        assert about.certificate_expires_unix_s > 0 and about.revocations_number > 0


def test_without_a_certificate_nobody_gets_in(secured):
    kept_out(secured, None, Role.NODE, logged="PEER_DID_NOT_RETURN_A_CERTIFICATE")


def test_in_plaintext_nobody_gets_in_and_our_own_client_says_what_is_missing(secured):
    with grpc.insecure_channel(secured.address) as channel:
        for method in METHODS:
            assert call(channel, method, [b""])[0] is grpc.StatusCode.UNAVAILABLE
    secured.log_says("WRONG_VERSION_NUMBER")
    with (
        pytest.raises(AccessError, match=r"only calls with a certificate.*pi-cluster init"),
        NodeClient(secured.peer, PLAIN) as client,
    ):
        client.describe()
    assert secured.is_well()


def test_an_expired_certificate_does_not_get_in(secured, tmp_path):
    folder = tmp_path / "late"
    dated_credentials(secured.authority, folder, Role.OPERATOR, "late", -YEAR)
    kept_out(secured, folder, Role.OPERATOR, logged="certificate has expired")
    with pytest.raises(AccessError, match=r"our own certificate.*expired on"):
        secured.client(folder, Role.OPERATOR)


def test_one_that_is_not_valid_yet_does_not_get_in_and_the_clock_is_named(secured, tmp_path):
    folder = tmp_path / "early"
    dated_credentials(secured.authority, folder, Role.OPERATOR, "early", YEAR)
    kept_out(secured, folder, Role.OPERATOR, logged="certificate is not yet valid")
    with pytest.raises(AccessError, match=r"our own certificate.*valid from.*clock"):
        secured.client(folder, Role.OPERATOR)


def test_another_clusters_operator_does_not_get_in(secured, stranger, tmp_path):
    folder = tmp_path / "disguised"
    credentials_of(stranger, folder, Role.OPERATOR, "disguised")
    # Else it would not even want to talk to this worker.
    (folder / "authorities.pem").write_bytes(
        secured.authority.authorities_pem + stranger.authorities_pem
    )
    kept_out(secured, folder, Role.OPERATOR, logged="unable to get local issuer certificate")
    with pytest.raises(AccessError, match=r"hung up when it saw our certificate.*log"):
        secured.client(folder, Role.OPERATOR)


def test_another_cluster_of_the_same_name_is_not_called(secured, stranger):
    with pytest.raises(AccessError, match="not signed by this cluster's authority"):
        secured.client(stranger.folder, Role.OPERATOR)


def test_a_node_of_another_cluster_is_named_with_its_cluster(secured, tmp_path):
    garage = ClusterAuthority.create(tmp_path / "garage", "garage")
    with pytest.raises(AccessError, match=rf"belongs to cluster '{secured.cluster.name}'.*garage"):
        secured.client(garage.folder, Role.OPERATOR)


@pytest.mark.parametrize(("method", "role"), list(product(METHODS, Role)))
def test_each_method_is_refused_to_roles_that_may_not_call_it(secured, method, role):
    allowed = method in WORKER_RULES and role in WORKER_RULES[method].roles
    with secured.channel(secured.folders[role], role) as channel:
        code, error = call(channel, method, [b""] if allowed else [b"\xff" * 100])
    if method not in WORKER_RULES:
        assert code is grpc.StatusCode.UNIMPLEMENTED
    elif allowed:
        assert code is not grpc.StatusCode.PERMISSION_DENIED
        assert "may not do that" not in str(error)
    else:
        assert code is grpc.StatusCode.PERMISSION_DENIED and isinstance(error, AccessError)
        who = re.escape(str(Identity(secured.cluster.name, role, _name(role))))
        secured.log_says(rf"refused {method} to {who} at \S+: {role} \S+ may not do that")


def _name(role):
    names = {Role.OPERATOR: "operator", Role.COORDINATOR: "laptop", Role.HEALER: "mender"}
    return names.get(role, "other")


def test_a_method_that_does_not_exist_is_refused_and_logged(secured):
    with secured.channel(secured.folders[Role.OPERATOR], Role.OPERATOR) as channel:
        code, _ = call(channel, "/pi_cluster.v1.Worker/Format", [b""])
    assert code is grpc.StatusCode.UNIMPLEMENTED
    secured.log_says("refused '/pi_cluster.v1.Worker/Format' to pi-cluster://")


def test_whoever_is_revoked_is_out_at_once_and_calls_that_are_open_end(secured, tmp_path):
    folder = credentials_of(secured.authority, tmp_path / "thief", Role.COORDINATOR, "thief")
    with secured.client(folder, Role.COORDINATOR) as client:
        client.describe()
        with secured.channel(folder, Role.COORDINATOR) as channel:
            waiting = channel.stream_stream("/pi_cluster.v1.Worker/RunSteps")(_never())
            eventually(lambda: waiting.is_active(), bool)
            secured.authority.revoke("thief")
            with secured.operator as operator:
                operator.certify(secured.authority.news)
                number = operator.describe().revocations_number
            assert number == secured.authority.revocations_number
            eventually(waiting.is_active, lambda active: not active)
        with pytest.raises(AccessError, match="your certificate has been revoked"):
            client.describe()
    with pytest.raises(AccessError, match="your certificate has been revoked"):
        secured.client(folder, Role.COORDINATOR).describe()
    secured.log_says("refused .*Describe to .*revoked")
    assert secured.is_well()


def _never():
    """Messages that never come, until the call ends."""
    return iter(queue.SimpleQueue().get, None)


@contextmanager
def impostor(folder, role):
    """A gRPC server that shows a folder's certificate and takes anybody."""
    held = load_credentials(folder, role)
    server = grpc.server(ThreadPoolExecutor(2), options=SERVER_OPTIONS)
    rpc.add_WorkerServicer_to_server(rpc.WorkerServicer(), server)
    shown = grpc.ssl_server_credentials([(held.key_pem, held.certificate_pem)])
    port = server.add_secure_port("127.0.0.1:0", shown)
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


@pytest.mark.parametrize("role", [Role.COORDINATOR, Role.OPERATOR])
def test_a_coordinators_or_operators_certificate_does_not_make_a_node(secured, role):
    folder = secured.folders[role]
    with impostor(folder, role) as address:
        with pytest.raises(AccessError, match=f"answers as {role}"):
            secured.client(secured.folders[Role.OPERATOR], Role.OPERATOR, Peer(address))
        # gRPC itself would not take it for a node either, under whichever name.
        for name in (_name(role), "any"):
            with secure_channel(
                address, name, secured.folders[Role.OPERATOR], Role.OPERATOR
            ) as channel:
                code, _ = call(channel, "/pi_cluster.v1.Worker/Describe", [b""])
            assert code is grpc.StatusCode.UNAVAILABLE


def test_another_node_at_an_address_is_not_taken_for_the_one_meant(secured):
    with impostor(secured.folders[Role.NODE], Role.NODE) as address:
        meant = Peer(address, secured.node_id, "guarded")
        with pytest.raises(
            AccessError, match=rf"is node {secured.node_id}, but node other answers"
        ):
            secured.client(secured.folders[Role.OPERATOR], Role.OPERATOR, meant)
        with secure_channel(
            address, secured.node_id, secured.folders[Role.OPERATOR], Role.OPERATOR
        ) as channel:
            code, _ = call(channel, "/pi_cluster.v1.Worker/Describe", [b""])
        assert code is grpc.StatusCode.UNAVAILABLE


def test_a_revoked_node_is_not_called(secured, tmp_path):
    folder = credentials_of(secured.authority, tmp_path / "stolen", Role.NODE, "stolen")
    secured.authority.revoke("stolen")
    with (
        impostor(folder, Role.NODE) as address,
        pytest.raises(AccessError, match="its certificate has been revoked"),
    ):
        secured.client(secured.folders[Role.OPERATOR], Role.OPERATOR, Peer(address, "stolen"))


def test_a_connection_that_fails_is_explained(secured, closed_port):
    def calling(peer):
        return secured.client(secured.folders[Role.OPERATOR], Role.OPERATOR, peer)

    with pytest.raises(NodeLost, match=r"does not answer .*refused"):
        calling(Peer(f"127.0.0.1:{closed_port}"))
    with pytest.raises(NodeLost, match="no address is known for that name"):
        calling(Peer("nowhere.invalid:7711"))
    _, plain = secured.cluster.start_worker("plain")
    with pytest.raises(AccessError, match=r"does not speak TLS.*token create"):
        calling(Peer(plain))


def test_a_node_that_holds_calls_open_leaves_room_for_the_operator(secured):
    most = MAX_CALLS_OF[Role.NODE]
    with secured.channel(secured.folders[Role.NODE], Role.NODE) as channel:
        run_steps = channel.stream_stream("/pi_cluster.v1.Worker/RunSteps")
        held = [run_steps(_never()) for _ in range(3 * most)]
        eventually(lambda: sum(one.is_active() for one in held), lambda active: active == most)
        refused = next(one for one in held if not one.is_active())
        assert "open" in refused.details()
        assert secured.is_well()
        for one in held:
            one.cancel()
    with secured.client(secured.folders[Role.NODE], Role.NODE) as client:
        eventually(lambda: _describes(client), bool)


def _describes(client):
    try:
        return client.describe().node_id
    except NodeError:
        return None


def test_a_message_that_is_too_large_for_its_method_is_refused(secured):
    with secured.channel(secured.folders[Role.OPERATOR], Role.OPERATOR) as channel:
        for method, message in [
            ("Describe", bytes(40_000)),
            ("Echo", pb.EchoRequest(data=bytes(3 << 20)).SerializeToString()),
            ("LoadStage", pb.LoadStageRequest(manifest="x" * (3 << 20)).SerializeToString()),
            ("RunSteps", pb.StepMessage(end={"sequence": [1 << 60] * 60_000}).SerializeToString()),
        ]:
            code, error = call(channel, f"/pi_cluster.v1.Worker/{method}", [message])
            assert code is grpc.StatusCode.FAILED_PRECONDITION and "too large" in str(error), method
        code, _ = call(channel, "/pi_cluster.v1.Worker/RunSteps", [bytes(40 << 20)])
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert secured.is_well()


def test_certificates_are_made_and_installed_by_commands_that_ssh_can_drive(secured, tmp_path):
    def run(*words, stdin=b""):  # by SSH it is another process too
        return secured.cluster.run("node-certificate", *words, stdin=stdin)

    data_dir = str(tmp_path / "fresh")
    made = run("request", "--data-dir", data_dir).json()
    identity = Identity(secured.cluster.name, Role.NODE, made["node_id"])
    request = base64.b64decode(made["signing_request"])
    given = secured.authority.issue(request, identity, "fresh").to_json().encode()
    wrong = run("install", "--data-dir", data_dir, stdin=given)
    assert wrong.code == 1 and "the certificate is for" in wrong.err
    named = ("--cluster", secured.cluster.name)
    done = run("install", "--data-dir", data_dir, *named, stdin=given)
    assert (done.code, done.out) == (0, ""), done
    torn = run("install", "--data-dir", data_dir, *named, stdin=given[:100])
    assert torn.code == 1 and "JSON" in torn.err
    keys = tmp_path / "fresh" / "credentials"
    assert keys.stat().st_mode & 0o777 == 0o700
    assert (keys / "node.key").stat().st_mode & 0o777 == 0o600
    assert json.loads(given)["certificate"].encode() == (keys / "node.pem").read_bytes()


def test_a_worker_without_certificates_does_not_listen_beyond_loopback(cluster):
    outcome = cluster.run("worker", "--no-mdns", "--listen", "0.0.0.0:0")
    assert outcome.code == 1 and outcome.out == ""
    for words in ("no certificate", "0.0.0.0", "pi-cluster token create", "--insecure"):
        assert words in outcome.err


def test_insecurely_it_does_and_every_command_says_so_loudly(cluster):
    worker = cluster.start("worker", "--no-mdns", "--listen", "0.0.0.0:0", "--insecure")
    port = worker.read_line().split()[1].rpartition(":")[2]
    assert "INSECURE" in worker.error_text
    address = f"{_own_address()}:{port}"
    refused = cluster.call("up", "--nodes", address)
    assert refused.code == 1 and "pi-cluster init" in refused.err and "--insecure" in refused.err
    for words in (
        ("plan", "--insecure", "--nodes", address),
        ("up", "--insecure", "--nodes", address),
        ("prompt", "--ids", "1", "--max-tokens", "2"),
        ("status",),
        ("bench", "--prompt-tokens", "8", "--gen-tokens", "2", "--repeat", "1"),
        ("down",),
    ):
        outcome = cluster.call(*words)
        assert outcome.code == 0, outcome
        assert "INSECURELY" in outcome.err and "Anyone on this network" in outcome.err, words


def _own_address():
    """An address of this machine that is not loopback."""
    addresses = [ip.ip for adapter in ifaddr.get_adapters() for ip in adapter.ips]
    found = (a for a in addresses if isinstance(a, str) and not ipaddress.ip_address(a).is_loopback)
    return next(found, None) or pytest.skip("this machine has no address but loopback")


def test_a_cluster_with_certificates_is_not_called_insecurely(secured):
    outcome = secured.cluster.call("up", "--insecure", "--nodes", secured.address)
    assert outcome.code == 1 and "has certificates" in outcome.err


def test_without_certificates_other_machines_are_not_called():
    with pytest.raises(AccessError, match=r"not on this machine.*pi-cluster init"):
        PlainDialer().connect(Peer("192.0.2.1:7711"))


def test_a_worker_without_certificates_has_none_to_renew(secured):
    _, plain = secured.cluster.start_worker("uncertified")
    with NodeClient(Peer(plain), PLAIN) as client:
        for attempt in (client.request_certificate, lambda: client.certify(Certification())):
            with pytest.raises(NodeError, match="started without certificates"):
                attempt()


class HostWithoutSsh:
    """What `certify` asks of a host over SSH, done by the same command in a folder here."""

    def __init__(self, cluster, name):
        self._cluster, self.host = cluster, Host(name)

    def ask(self, operation, cluster, words, stdin):
        assert operation == "as_service" and words[:3] == [
            "-m",
            "pi_cluster.deploy",
            "node-certificate",
        ]
        outcome = self._cluster.run(*words[2:], stdin=stdin.encode())
        assert outcome.code == 0, outcome
        return outcome.out


def test_a_host_that_is_set_up_over_ssh_does_not_get_the_certificate_of_another(secured, tmp_path):
    name, authority = secured.cluster.name, secured.authority
    honest = HostWithoutSsh(secured.cluster, "pi1.local")
    victim = certify(honest, name, str(tmp_path / "pi1"), authority)
    hacked = tmp_path / "pi2"
    hacked.mkdir()
    (hacked / "node.json").write_text(json.dumps({"node_id": victim}))
    before = authority.issued
    with pytest.raises(HostError, match=rf"pi2.local: node {victim} \(pi1.local\).*sudo rm -r"):
        certify(HostWithoutSsh(secured.cluster, "pi2.local"), name, str(hacked), authority)
    assert authority.issued == before and not (hacked / "credentials" / "node.pem").exists()
    # The one whose id it is gets another certificate whenever it is set up anew.
    assert certify(honest, name, str(tmp_path / "pi1"), authority) == victim
    # And what the message says helps.
    shutil.rmtree(hacked)
    own = certify(HostWithoutSsh(secured.cluster, "pi2.local"), name, str(hacked), authority)
    assert own != victim

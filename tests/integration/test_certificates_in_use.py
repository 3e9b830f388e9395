"""A cluster with certificates at work: the same answers, and changes under a running session."""

import datetime
import re
import signal

import pytest

from pi_cluster import storyteller
from pi_cluster.cluster import settings
from pi_cluster.cluster.errors import AccessError
from pi_cluster.cluster.trust.authority import ClusterAuthority
from pi_cluster.cluster.trust.certificates import utc_now
from pi_cluster.cluster.trust.credentials import load_credentials
from pi_cluster.cluster.trust.identity import Role
from pi_cluster.cluster.wire.client import NodeClient
from pi_cluster.cluster.wire.secure_dialing import SecureDialer
from pi_cluster.coordinator.pipeline.trust_updates import find_members, reissue, rotate, tell
from tests.support.authorities import live
from tests.support.cluster_process import Cluster
from tests.support.stores import shard

MANY = ("--max-tokens", "1500")
PATIENCE_S = 150.0  # for as many tokens, on a machine that does other things too
NOTICED_S = 20.0

pytestmark = pytest.mark.timeout(400)


class Home(Cluster):
    """The embedded model in float32 on three local workers with certificates."""

    def initialise(self, count=3):
        assert self.call("init").code == 0
        self.store = self.folder / "store"
        shard(storyteller.checkpoint_path(), self.store, "f32")
        self.up(str(self.store), "--local", str(count))

    @property
    def authority(self):
        with self.environment():
            return ClusterAuthority(settings.cluster_config(self.name), self.name)

    @property
    def dialer(self):
        return SecureDialer(live(self.authority.folder, Role.OPERATOR))

    def held_by(self, worker):
        folder = self.folder / "data" / "pi-cluster" / self.name / worker / "credentials"
        return load_credentials(folder, Role.NODE)


@pytest.fixture(scope="module")
def home(integration_folder):
    folder = integration_folder / "certified"
    folder.mkdir()
    with Home(folder, integration_folder / "cache") as cluster:
        cluster.initialise()
        yield cluster


@pytest.fixture
def asked(golden):
    ids, expected = golden
    words = ("--ids", ",".join(map(str, ids)), "--temperature", "0", "--max-tokens", "200")
    return words, expected


WORKERS = ("local-1", "local-2", "local-3")


def test_local_workers_get_certificates_and_give_the_golden_ids(home, asked):
    words, expected = asked
    assert home.prompt(*words)["ids"] == expected
    assert [home.held_by(name).identity.cluster for name in WORKERS] == [home.name] * 3
    with home.environment():
        assert {stage["state"] for stage in home.status()["stages"]} == {"ready"}


def test_a_second_up_changes_nothing(home):
    before = [home.held_by(name).certificate for name in WORKERS]
    assert "already up" in home.call("up", str(home.store), "--local", "3").err
    assert [home.held_by(name).certificate for name in WORKERS] == before


def running(home, endless):
    session = home.start("prompt", *endless, *MANY)
    session.read(20)
    return session


def goes_on(session):
    """It says more than it had said when the certificates had changed, and ends well."""
    assert session.process.poll() is None, "it ended before the certificates were changed"
    outcome = session.end(PATIENCE_S)
    assert outcome.code == 0, outcome.err
    return outcome.out


def test_certificates_are_renewed_under_a_running_session(home, endless):
    session = running(home, endless)
    before = [home.held_by(name).certificate for name in WORKERS]
    with home.environment():
        authority, dialer = home.authority, home.dialer
        members = find_members(authority, dialer)
        assert sorted(one.issued.name for one in members) == list(WORKERS)
        assert tell(members, lambda c, node: reissue(authority, c, node), dialer) == []
    after = [home.held_by(name).certificate for name in WORKERS]
    assert all(one != two for one, two in zip(before, after, strict=True))
    said = goes_on(session)
    # A new connection meets the new certificates.
    again = home.run("prompt", *endless, "--max-tokens", "50")
    assert again.code == 0 and said.startswith(again.out.rstrip("\n"))


@pytest.mark.parametrize("command", ["prompt", "status", "up"])
def test_whatever_is_called_renews_certificates_past_half_of_their_life(home, monkeypatch, command):
    def days_left():
        ends = (home.held_by(name).certificate.not_valid_after_utc for name in WORKERS)
        return [(end - utc_now()).days for end in ends]

    with home.environment(), monkeypatch.context() as earlier:
        long_ago = utc_now() - datetime.timedelta(days=200)
        earlier.setattr("pi_cluster.cluster.trust.signing_pair.utc_now", lambda: long_ago)
        authority, dialer = home.authority, home.dialer
        members = find_members(authority, dialer)
        assert tell(members, lambda c, node: reissue(authority, c, node), dialer) == []
    assert days_left() == [164] * 3
    words = {
        "prompt": ("prompt", "--ids", "1,3", "--max-tokens", "2"),
        "status": ("status",),
        "up": ("up", str(home.store), "--local", "3"),
    }
    called = home.run(*words[command])
    assert called.code == 0 and "warning" not in called.err, called
    assert days_left() == [364] * 3
    renewed = [home.held_by(name).certificate for name in WORKERS]
    assert home.run(*words[command]).code == 0
    assert [home.held_by(name).certificate for name in WORKERS] == renewed


def test_the_authority_is_replaced_under_a_running_session(home, endless, asked):
    session = running(home, endless)
    before = home.authority.fingerprint
    outcome = home.call("authority", "rotate")
    assert outcome.code == 0 and "warning" not in outcome.err, outcome
    goes_on(session)
    authority = home.authority
    assert authority.fingerprint != before and not authority.has_predecessor
    for name in WORKERS:
        held = home.held_by(name)
        assert held.authorities == [authority.certificate]
        assert authority.signed(held.certificate)
    words, expected = asked
    assert home.prompt(*words)["ids"] == expected
    shown = home.call("authority", "show").out
    assert authority.fingerprint.hex() in shown and "none under way" in shown


class PowerCut(Exception):
    pass


@pytest.mark.parametrize("step", ["succeed", "forget_predecessor", "renew_own"])
def test_a_rotation_that_was_interrupted_goes_on(home, asked, monkeypatch, step):
    with home.environment():
        before = home.authority.fingerprint
        with monkeypatch.context() as patched, pytest.raises(PowerCut):
            patched.setattr(ClusterAuthority, step, _cut)
            rotate(home.authority, home.dialer, None, leave_behind=False)
        words, expected = asked
        assert home.prompt(*words, "--max-tokens", "5")["ids"] == expected[:5]
        shown = home.call("authority", "show").out
        assert "unfinished" in shown
        assert rotate(home.authority, home.dialer, None, leave_behind=False) == []
    authority = home.authority
    assert authority.fingerprint != before
    assert all(home.held_by(name).authorities == [authority.certificate] for name in WORKERS)
    assert home.prompt(*words, "--max-tokens", "5")["ids"] == expected[:5]


def _cut(self):
    raise PowerCut


def test_an_authority_is_not_replaced_while_a_node_cannot_be_reached(home):
    home.signal_worker("local-3", signal.SIGSTOP)
    before = home.authority.authorities_pem
    try:
        outcome = home.call("authority", "rotate")
    finally:
        home.signal_worker("local-3", signal.SIGCONT)
    assert outcome.code == 1
    assert "local-3" in outcome.err and "--leave-behind" in outcome.err
    assert "local-1" not in outcome.err
    assert home.authority.authorities_pem == before


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_lost_node_is_named_as_it_is_without_certificates(home, endless, number):
    session = home.start("prompt", *endless, *MANY, "--heal-timeout", "0")
    session.read(20)
    if number == signal.SIGKILL:
        home.kill_for_good("local-2")
    else:
        home.signal_worker("local-2", number)
    outcome = session.end(NOTICED_S)
    if number == signal.SIGSTOP:
        home.kill_for_good("local-2")
    assert outcome.code == 1 and "local-2" in outcome.err, outcome
    assert "local-1" not in outcome.err and "handshake" not in outcome.err
    assert "ready: 3 stages" in home.up(str(home.store), "--local", "3").err


def test_a_grant_lets_another_machine_ask_and_no_more(home, make_cluster, asked):
    words, expected = asked
    file = home.folder / "laptop.grant"
    assert home.call("grant", "laptop", "--out", str(file)).code == 0
    assert file.stat().st_mode & 0o777 == 0o600
    with make_cluster() as laptop:
        laptop.name = home.name
        assert laptop.call("accept", str(file)).code == 0
        assert laptop.prompt(*words, "--max-tokens", "5")["ids"] == expected[:5]
        assert laptop.run("status").code == 0
        for command in (("up",), ("down",), ("plan",), ("token", "create")):
            outcome = laptop.call(*command)
            assert outcome.code == 1 and "pi-cluster init" in outcome.err, command
        revoked = home.call("node", "revoke", "laptop")
        assert revoked.code == 0 and "3 nodes told" in revoked.err
        outcome = laptop.call("prompt", *words)
        assert outcome.code == 1 and "your certificate has been revoked" in outcome.err
        assert home.call("accept", str(file)).code == 1


def test_a_file_that_is_no_grant_is_refused(home, tmp_path):
    made = home.folder / "made.grant"
    assert home.call("grant", "desk", "--out", str(made)).code == 0
    text = made.read_text()
    for changed in (
        "",
        "[]",
        text[: len(text) // 2],
        text.replace('"pipeline.json"', '"../../pipeline.json"'),
        re.sub(r'"cluster": "[^"]*"', '"cluster": "../x"', text),
    ):
        (tmp_path / "grant").write_text(changed)
        outcome = home.call("accept", str(tmp_path / "grant"))
        assert outcome.code == 1 and "is no grant" in outcome.err, changed[:50]


def test_up_tells_a_node_that_had_not_heard_of_a_revocation(home):
    home.signal_worker("local-1", signal.SIGSTOP)
    home.call("grant", "phone", "--out", str(home.folder / "phone.grant"))
    try:
        outcome = home.call("node", "revoke", "phone")
    finally:
        home.signal_worker("local-1", signal.SIGCONT)
    assert outcome.code == 0 and "2 nodes told" in outcome.err
    assert "local-1 has not heard of it" in outcome.err
    newest = home.authority.revocations_number
    assert [home.held_by(name).revoked.number for name in WORKERS] == [newest - 1, newest, newest]
    assert "already up" in home.call("up", str(home.store), "--local", "3").err
    assert {home.held_by(name).revoked.number for name in WORKERS} == {newest}


def test_a_revoked_node_is_shut_out_by_everybody_and_comes_back_only_as_another(home, asked):
    words, expected = asked
    gone = home.held_by("local-3").identity.id
    outcome = home.call("node", "revoke", "local-3")
    assert outcome.code == 0 and "2 nodes told" in outcome.err, outcome
    assert re.search(rf"{gone}.*revoked", home.call("node", "list").out)
    refused = home.call("prompt", *words)
    assert refused.code == 1 and "its certificate has been revoked" in refused.err
    # The others do not take its calls either, with all that is on its disk.
    folder = home.folder / "data" / "pi-cluster" / home.name / "local-3" / "credentials"
    peers = [stage.peer for stage in home.record().addresses[:2]]
    with pytest.raises(AccessError, match="your certificate has been revoked"):
        for peer in peers:
            with NodeClient(peer, SecureDialer(live(folder, Role.NODE))) as client:
                client.describe()
    assert "ready: 3 stages" in home.up(str(home.store), "--local", "3").err
    assert home.held_by("local-3").identity.id != gone
    assert home.prompt(*words, "--max-tokens", "5")["ids"] == expected[:5]

"""A machine whose grant says so may mend the pipeline, and bring up nothing else."""

import signal
from dataclasses import replace

import pytest

from pi_cluster.cluster import settings
from pi_cluster.cluster.errors import AccessError
from pi_cluster.cluster.layer_range import LayerRange
from pi_cluster.cluster.trust.authority import ClusterAuthority
from pi_cluster.cluster.trust.credentials import load_credentials
from pi_cluster.cluster.trust.identity import Role
from pi_cluster.cluster.wire.client import NodeClient
from pi_cluster.cluster.wire.load_request import load_request
from pi_cluster.cluster.wire.peer import Peer
from pi_cluster.cluster.wire.secure_dialing import SecureDialer
from pi_cluster.coordinator.healing.permission import dialer_to_load, may_send, own_role
from pi_cluster.coordinator.records.kept_record import load_record
from tests.support.authorities import certify_node, credentials_of, live

STORY = ("Tell me a story.", "--temperature", "0", "--max-tokens", "30")
HEALED_S = 90.0
NAMES = ("pi1", "pi2", "pi3")

pytestmark = pytest.mark.timeout(300)


class Home:
    """Workers with certificates, started by hand, that serve the embedded model."""

    def __init__(self, cluster):
        self.cluster = cluster
        assert cluster.run("init").code == 0
        with cluster.environment():
            self.config = settings.cluster_config(cluster.name)
        self.authority = ClusterAuthority(self.config, cluster.name)
        self.workers, self.peers = {}, {}
        for name in NAMES:
            node_id = certify_node(self.authority, cluster.folder / name, name)
            self.workers[name], address = cluster.start_worker(name)
            self.peers[name] = Peer(address, node_id, name)

    def up(self, *words):
        nodes = ",".join(peer.address for peer in self.peers.values())
        return self.cluster.up(*words, "--nodes", nodes)

    def grant(self, machine, name, *words):
        """Make a grant, and have another machine accept it."""
        file = str(self.cluster.folder / f"{name}.grant")
        made = self.cluster.run("grant", name, "--out", file, *words)
        assert made.code == 0, made
        machine.name = self.cluster.name
        accepted = machine.run("accept", file)
        assert accepted.code == 0, accepted
        return machine


@pytest.fixture(scope="module")
def home(make_cluster):
    with make_cluster() as cluster:
        made = Home(cluster)
        made.up()
        yield made


@pytest.fixture
def machine(make_cluster):
    """Another one, on which nothing is known of any cluster."""
    with make_cluster() as other:
        yield other


def client(home, name, folder, role):
    return NodeClient(home.peers[name], SecureDialer(live(folder, role)))


def keep_copies(home):
    """Have pi1 and pi3 keep pi2's layers too: a machine that may heal has none to send."""
    manifest = home.cluster.record().manifest
    with client(home, "pi2", home.config, Role.OPERATOR) as two:
        held = two.find_shards(manifest.files).held
    for name in ("pi1", "pi3"):
        with client(home, name, home.config, Role.OPERATOR) as one:
            lacking = held - one.find_shards(manifest.files).held
            for file in (file for file in manifest.files if file.sha256 in lacking):
                one.fetch_shard(file, home.peers["pi2"], lambda _: None)


@pytest.fixture(scope="module")
def mender(home, tmp_path_factory):
    """A folder with a healer's credentials."""
    return credentials_of(home.authority, tmp_path_factory.mktemp("m"), Role.HEALER, "mender")


def test_the_list_of_nodes_shows_who_may_heal(home, make_cluster):
    with make_cluster() as one, make_cluster() as two:
        home.grant(one, "desk", "--may-heal")
        home.grant(two, "phone")
    rows = {row.split()[1]: row for row in home.cluster.run("node", "list").out.splitlines()[3:-1]}
    assert "healer" in rows["desk"] and "coordinator" in rows["phone"]


def test_a_coordinator_may_become_a_healer_and_not_the_other_way(home, machine):
    home.grant(machine, "kitchen")
    with machine.environment():
        assert own_role(machine.name) is Role.COORDINATOR
        assert dialer_to_load(machine.name, load_record(machine.name)) is None
    home.grant(machine, "kitchen", "--may-heal")
    with machine.environment():
        folder = settings.cluster_config(machine.name)
        assert own_role(machine.name) is Role.HEALER and not may_send(machine.name)
        assert load_credentials(folder, Role.HEALER).identity.id == "kitchen"
    assert not list(folder.glob("coordinator.*"))
    assert machine.prompt(*STORY)["ids"]
    refused = home.cluster.run("grant", "kitchen", "--out", str(machine.folder / "grant"))
    assert refused.code == 1 and "pi-cluster node revoke kitchen" in refused.err, refused
    assert not (machine.folder / "grant").exists()


def test_the_operator_may_all_of_it(home):
    with home.cluster.environment():
        assert own_role(home.cluster.name) is Role.OPERATOR and may_send(home.cluster.name)


def test_without_certificates_everybody_may(cluster):
    with cluster.environment():
        assert own_role(cluster.name) is Role.OPERATOR and may_send(cluster.name)


def test_a_healer_has_the_store_that_is_up_found_fetched_and_measured(home, mender):
    manifest = home.cluster.record().manifest
    with (
        client(home, "pi1", mender, Role.HEALER) as one,
        client(home, "pi2", mender, Role.HEALER) as two,
    ):
        lacking = two.find_shards(manifest.files).held - one.find_shards(manifest.files).held
        file = next(file for file in manifest.files if file.sha256 in lacking)
        one.fetch_shard(file, home.peers["pi2"], lambda _: None)
        assert file.sha256 in one.find_shards(manifest.files).held
        assert one.measure_node() and one.measure_link(home.peers["pi2"])


def test_another_store_is_neither_found_nor_fetched_nor_loaded_by_a_healer(
    home, mender, random_store
):
    other, record = random_store.manifest, home.cluster.record()
    file = other.files[0]
    request = load_request(
        *(record.epoch + 1, other, LayerRange(0, other.n_layers), record.limits), following=None
    )
    changed = replace(record.manifest, bos_id=(record.manifest.bos_id or 0) + 1)
    disguised = load_request(
        *(record.epoch + 1, changed, LayerRange(0, changed.n_layers), record.limits), following=None
    )
    with client(home, record.stages[0].where.name, mender, Role.HEALER) as one:
        for act in (
            lambda: one.find_shards(other.files),
            lambda: one.fetch_shard(file, home.peers["pi2"], lambda _: None),
            lambda: one.load_stage(request),
            lambda: one.load_stage(disguised),
        ):
            with pytest.raises(AccessError, match=r"healer mender may mend .* takes an operator"):
                act()
        with pytest.raises(AccessError, match="may not do that: it takes an operator"):
            one.put_shard(file, random_store.path_of(file), 0, lambda _: None)
        with pytest.raises(AccessError, match="may not do that: it takes an operator"):
            one.request_certificate()
        assert one.describe().stage.epoch == record.epoch
    assert home.cluster.prompt(*STORY)["ids"]


def test_a_healer_goes_on_without_a_lost_node_and_a_coordinator_follows_it(
    make_cluster, machine, endless
):
    """Nobody runs an `up`: the operator's computer is asleep, say."""
    long = (*endless, "--max-tokens", "600")
    with make_cluster() as cluster, make_cluster() as phone:
        home = Home(cluster)
        home.up()
        home.grant(machine, "server", "--may-heal")
        home.grant(phone, "phone")
        expected = cluster.call("prompt", *long).out
        keep_copies(home)
        running = machine.start("prompt", *long)
        running.read(50)
        home.workers["pi2"].send(signal.SIGKILL)
        outcome = running.end(HEALED_S)
        assert (outcome.code, outcome.out) == (0, expected), outcome
        assert "pi2 stopped answering; going on with pi1 and pi3" in outcome.err
        asked = phone.run("prompt", *long, timeout_s=HEALED_S)
        assert (asked.code, asked.out) == (0, expected), asked
        assert phone.record().stages == machine.record().stages
        with phone.environment():
            assert dialer_to_load(phone.name, phone.record()) is None


def test_where_its_layers_are_nowhere_else_a_healer_waits_for_the_node_and_says_so(
    make_cluster, machine, endless
):
    with make_cluster() as cluster:
        home = Home(cluster)
        home.up()
        home.grant(machine, "server", "--may-heal")
        long = (*endless, "--max-tokens", "600", "--heal-timeout", "8")
        running = machine.start("prompt", *long)
        running.read(50)
        home.workers["pi2"].send(signal.SIGKILL)
        outcome = running.end(HEALED_S)
        assert outcome.code == 1 and outcome.out, outcome
        said = "pi2 stopped answering, and its layers are neither on the others nor here: waiting"
        assert outcome.err.count(said) == 1, outcome.err


@pytest.mark.parametrize("role", [Role.COORDINATOR, Role.NODE])
def test_nobody_else_loads_unloads_or_finds_anything(home, tmp_path, role):
    record = home.cluster.record()
    folder = credentials_of(home.authority, tmp_path / "other", role, f"other-{role}")
    request = load_request(
        *(record.epoch + 1, record.manifest, LayerRange(0, record.manifest.n_layers)),
        *(record.limits, None),
    )
    with client(home, "pi1", folder, role) as one:
        for act in (
            lambda: one.load_stage(request),
            lambda: one.unload_stage(record.epoch),
            lambda: one.find_shards(record.manifest.files),
            lambda: one.fetch_shard(record.manifest.files[0], home.peers["pi2"], lambda _: None),
            one.measure_node,
        ):
            with pytest.raises(AccessError, match="it takes an operator or a healer"):
                act()


def test_a_revoked_healer_heals_no_more(home, tmp_path):
    folder = credentials_of(home.authority, tmp_path / "gone", Role.HEALER, "gone")
    manifest = home.cluster.record().manifest
    with client(home, "pi1", folder, Role.HEALER) as one:
        one.find_shards(manifest.files)
    revoked = home.cluster.run("node", "revoke", "gone", "--nodes", _addresses(home))
    assert revoked.code == 0 and "healer gone (gone) is revoked" in revoked.err, revoked
    with (
        pytest.raises(AccessError, match="revoked"),
        client(home, "pi1", folder, Role.HEALER) as one,
    ):
        one.find_shards(manifest.files)


def _addresses(home):
    return ",".join(peer.address for peer in home.peers.values())

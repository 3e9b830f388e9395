"""Shards on their way to three hosts: a power cut or a killed `up` costs only the rest."""

import signal
from dataclasses import dataclass

import pytest

from pi_cluster.cluster.store.store import Store
from pi_cluster.deploy.screen.output import size
from tests.hosts.wheels import bring_wheels
from tests.support.checkpoints import small_config, write_hugging_face_checkpoint
from tests.support.cluster_process import eventually
from tests.support.stores import shard
from tests.testbed.network.network import Network
from tests.testbed.systemd_host import SystemdHost

HOSTS = "pi@pi1.local,pi@pi2.local,pi@pi3.local"
VAULT = "/var/lib/pi-cluster/default/shards"
LARGE = small_config(dim=1280, n_heads=20, n_kv_heads=20, head_dim=64, hidden_dim=2560)
BROKEN_BYTES = 20 << 20  # of one file have arrived when its transfer is broken off
OVERHEAD = 1.06  # of Ethernet, IP, TCP, TLS and HTTP/2
OTHER_BYTES = 8 << 20  # to each host: the checks over SSH, and measurements of two links

pytestmark = [pytest.mark.hosts, pytest.mark.thorough, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def network():
    """The operator's computer and three Pis, on links of 100 Mbit/s."""
    with Network(4, "fe100") as made:
        yield made


@pytest.fixture(scope="module")
def trio(operator, tmp_path_factory):
    """Three hosts that serve the embedded model."""
    folder = tmp_path_factory.mktemp("cards")
    bring_wheels(operator)
    assert operator.run("pi-cluster", "init").code == 0
    with (
        SystemdHost(operator, 1, folder / "pi1") as first,
        SystemdHost(operator, 2, folder / "pi2") as second,
        SystemdHost(operator, 3, folder / "pi3") as third,
    ):
        hosts = (first, second, third)
        for host in hosts:
            host.wait_for_ssh()
        up = operator.run("pi-cluster", "up", "--hosts", HOSTS, timeout_s=400)
        assert up.code == 0, up
        yield hosts


@pytest.fixture
def large(request, tmp_path):
    """Three layers of 65 MB, which no host holds anything of."""
    seed = sum(map(ord, request.node.name))
    write_hugging_face_checkpoint(tmp_path / "checkpoint", LARGE, seed=seed)
    shard(tmp_path / "checkpoint", tmp_path / "store")
    return Store(tmp_path / "store")


@dataclass(frozen=True)
class Arrived:
    """What has arrived of a store at one host, by digest; and of which files a part only."""

    whole: dict[str, int]
    partial: dict[str, int]

    @property
    def bytes(self):
        return sum(self.whole.values()) + sum(self.partial.values())


def arrived(host, store):
    """Looks into the host's folder."""
    digests = {file.sha256 for file in store.manifest.files}
    listed = host.sudo("find", VAULT, "-type", "f", "-printf", "%f %s\n")
    assert listed.code == 0, listed
    seen = {"safetensors": {}, "partial": {}}
    for name, count in map(str.split, listed.out.splitlines()):
        digest, _, kind = name.partition(".")
        if digest in digests:
            seen[kind][digest] = int(count)
    return Arrived(seen["safetensors"], seen["partial"])


def in_the_middle_of_a_file(hosts, store):
    """Waits until enough of a file has come; returns its host."""

    def where():
        for host in hosts:
            if max(arrived(host, store).partial.values(), default=0) > BROKEN_BYTES:
                return host
        return None

    return eventually(where, lambda host: host is not None, within_s=200)


def goes_on(network, operator, hosts, broken, store):
    """`up` again brings what is missing, and nothing that is there."""
    there = [arrived(host, store) for host in hosts]
    assert max(there[hosts.index(broken)].partial.values()) > BROKEN_BYTES > OTHER_BYTES
    before = [network.traffic(host.host).delivered for host in hosts]
    again = operator.run("pi-cluster", "up", str(store.path), timeout_s=300)
    after = [network.traffic(host.host).delivered for host in hosts]
    assert again.code == 0, again
    now = [arrived(host, store) for host in hosts]
    missing = [new.bytes - old.bytes for old, new in zip(there, now, strict=True)]
    assert f"ready: 3 stages, {size(sum(missing))} moved" in again.err
    assert "of them are there already" in again.err
    for index, host in enumerate(hosts):
        received = after[index] - before[index]
        assert missing[index] < received < OVERHEAD * missing[index] + OTHER_BYTES, host.name
        assert there[index].whole.items() <= now[index].whole.items() and not now[index].partial


def ids(operator, *words):
    prompt = ("--ids", "1,5,9,14", "--temperature", "0", "--max-tokens", "12", "--json")
    return operator.run("pi-cluster", "prompt", *prompt, *words).json()["ids"]


def answers_as_one_node_does(operator, store):
    alone = ("--cluster", "alone")
    up = operator.run("pi-cluster", "up", str(store.path), "--local", "1", *alone)
    assert up.code == 0, up
    try:
        return ids(operator) == ids(operator, *alone)
    finally:
        assert operator.run("pi-cluster", "down", *alone).code == 0


def test_a_power_cut_in_the_middle_of_a_shard_costs_only_the_rest_of_it(
    trio, network, operator, large
):
    running = operator.start("pi-cluster", "up", str(large.path))
    host = in_the_middle_of_a_file(trio, large)
    network.unplug(host.host)  # or its kernel would still say that the connections have ended
    host.power_cut()
    network.plug(host.host)
    broken = running.end(timeout_s=200)
    assert broken.code == 1, broken
    assert host.name in broken.err and "does not answer" in broken.err
    host.power_on()
    host.wait_for_ssh()
    goes_on(network, operator, trio, host, large)
    assert answers_as_one_node_does(operator, large)


def test_a_killed_up_leaves_what_has_arrived_and_the_next_one_sends_the_rest(
    trio, network, operator, large
):
    running = operator.start("pi-cluster", "up", str(large.path))
    host = in_the_middle_of_a_file(trio, large)
    running.send(signal.SIGKILL)
    assert running.end().code == -signal.SIGKILL
    goes_on(network, operator, trio, host, large)
    assert answers_as_one_node_does(operator, large)

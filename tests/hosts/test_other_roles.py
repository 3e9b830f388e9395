"""A host from which somebody asks, a host with limits, and one that joins from its own side."""

import pytest

from tests.hosts.golden import PROMPT, answered_ids, golden_ids
from tests.hosts.wheels import bring_wheels
from tests.support.cluster_process import eventually
from tests.testbed.card import CardSettings
from tests.testbed.systemd_host import SystemdHost

HOSTS = """
[[hosts]]
host = "pi1.local"
user = "pi"
threads = 1
memory = "1G"
data_dir = "/srv/ssd"

[[hosts]]
host = "pi2.local"
user = "pi"
role = "coordinator"
"""
SMALL = CardSettings(shown_memory_bytes=700 << 20)
UNIT = "pi-cluster-default.service"

pytestmark = [pytest.mark.hosts, pytest.mark.thorough, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def pair(operator, store, tmp_path_factory):
    """A worker and a coordinator, as ``cluster.toml`` has them."""
    folder = tmp_path_factory.mktemp("cards")
    bring_wheels(operator)
    assert operator.run("pi-cluster", "init").code == 0
    (operator.home / "cluster.toml").write_text(HOSTS)
    with (
        SystemdHost(operator, 1, folder / "pi1", SMALL) as worker,
        SystemdHost(operator, 2, folder / "pi2") as asking,
    ):
        worker.wait_for_ssh()
        asking.wait_for_ssh()
        words = ("pi-cluster", "up", str(store), "--hosts", "cluster.toml")
        up = operator.run(*words, timeout_s=400)
        assert up.code == 0, up
        yield worker, asking


def test_what_the_file_says_of_a_worker_holds(pair):
    worker, _ = pair
    limit = worker.run("systemctl", "show", "--property=MemoryMax", "--value", UNIT).out
    assert limit.strip() == str(1 << 30)
    assert "--threads 1 --memory 1073741824" in worker.run("systemctl", "cat", UNIT).out
    assert "node.json" in worker.sudo("ls", "/srv/ssd/default").out


def test_a_worker_of_little_memory_is_told_of(pair, operator, store):
    again = operator.run("pi-cluster", "up", str(store), "--hosts", "cluster.toml")
    assert again.code == 0, again
    assert "warning: pi1.local has 700.0 MiB of memory, which hold only few layers" in again.err
    assert "less than the 1.0 GiB that `memory` in cluster.toml lets its worker use" in again.err


def test_the_coordinators_user_asks_and_runs_no_service(pair):
    _, asking = pair
    words = ("pi-cluster", "prompt", f"'{PROMPT}'", "--temperature", "0", "--max-tokens", "24")
    answer = asking.run("sh", "-c", f"{' '.join(words)} --json")
    assert answer.json()["ids"] == golden_ids()
    assert asking.run("systemctl", "is-active", UNIT).out == "inactive\n"
    assert asking.run("pi-cluster", "down").code == 1


def test_again_brings_no_other_grant(pair, operator, store):
    issued = operator.home / ".config/pi-cluster/default/nodes.json"
    before = issued.read_bytes()
    again = operator.run("pi-cluster", "up", str(store), "--hosts", "cluster.toml")
    assert "2 hosts ready, nothing to change" in again.err, again
    assert issued.read_bytes() == before


def test_a_host_joins_from_its_own_side_and_survives_a_reboot(pair, operator, store):
    _, joining = pair
    made = operator.run("pi-cluster", "token", "create")
    token = next(word for word in (made.out + made.err).split() if word.startswith("pc1."))
    joined = joining.run("sudo", "pi-cluster", "join", "-", stdin=f"{token}\n")
    assert joined.code == 0, joined
    assert f"{UNIT} waits for the operator" in joined.err
    assert token not in joining.run("ps", "ax").out
    journal = ("journalctl", "--unit", UNIT, "--no-pager")
    eventually(lambda: joining.sudo(*journal).out, lambda said: "to join" in said, within_s=60)
    up = operator.run("pi-cluster", "up", str(store), timeout_s=200)
    assert up.code == 0, up
    assert "admitted" in up.err and "ready: 2 stages" in up.err
    assert answered_ids(operator) == golden_ids()
    joining.reboot()
    eventually(
        lambda: operator.run("pi-cluster", "status").code, lambda code: code == 0, within_s=60
    )
    assert answered_ids(operator) == golden_ids()

"""Two fresh hosts become a pipeline by one command, and stay as they are by the next."""

import json

import pytest

from tests.hosts.golden import answered_ids, golden_ids
from tests.hosts.wheels import bring_wheels
from tests.support.cluster_process import eventually
from tests.testbed.systemd_host import SystemdHost

HOSTS = "pi@pi1.local,pi@pi2.local"

pytestmark = [pytest.mark.hosts, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def up(operator, store, tmp_path_factory):
    """What `up` said about two fresh hosts; they are switched off at the end."""
    folder = tmp_path_factory.mktemp("cards")
    bring_wheels(operator)
    with (
        SystemdHost(operator, 1, folder / "pi1") as first,
        SystemdHost(operator, 2, folder / "pi2") as second,
    ):
        first.wait_for_ssh()
        second.wait_for_ssh()
        assert operator.run("pi-cluster", "init").code == 0
        words = ("pi-cluster", "up", str(store), "--hosts", HOSTS)
        yield operator.run(*words, timeout_s=400), (first, second)


def test_fresh_hosts_become_a_pipeline_that_answers(up, operator):
    outcome, _ = up
    assert outcome.code == 0, outcome
    assert "2 hosts ready, 2 changed" in outcome.err
    assert answered_ids(operator) == golden_ids()


def test_the_same_command_again_changes_nothing(up, operator, store):
    again = operator.run("pi-cluster", "up", str(store), "--hosts", HOSTS)
    assert again.code == 0, again
    assert "2 hosts ready, nothing to change" in again.err
    assert "already up" in again.err
    for step in ("sending", "installing", "certifying", "starting"):
        assert step not in again.err


def test_without_naming_hosts_up_knows_them(up, operator, store):
    again = operator.run("pi-cluster", "up", str(store))
    assert "2 hosts ready, nothing to change" in again.err, again
    assert "already up" in again.err


def test_the_service_may_do_little(up):
    _, (host, _) = up
    unit = "pi-cluster-default.service"
    analysis = host.run("systemd-analyze", "security", "--no-pager", unit).out
    exposure = float(analysis.rpartition("Overall exposure level for")[2].split()[1])
    assert exposure <= 1.5
    user = host.run("systemctl", "show", "--property=User", "--value", unit).out.strip()
    assert user == "pi-cluster"
    login = host.run("getent", "passwd", user).out.strip().split(":")
    assert login[-1] == "/usr/sbin/nologin"


def test_what_verifies_shards_gives_way_to_what_computes(up):
    _, (host, _) = up
    unit = "pi-cluster-default.service"
    process_id = host.run("systemctl", "show", "--property=MainPID", "--value", unit).out.strip()
    niceness = host.run("ps", "-L", "-o", "ni=", "-p", process_id).out.split()
    assert niceness.count("19") == 1 and set(niceness) == {"0", "19"}


def test_nobody_else_reads_the_nodes_folder(up):
    _, (host, _) = up
    assert host.run("ls", "/var/lib/pi-cluster/default").code != 0
    modes = host.sudo("find", "/var/lib/pi-cluster/default", "-perm", "/077").out
    assert modes == ""


def test_a_worker_that_is_killed_comes_back_with_its_stage(up, operator):
    _, (host, _) = up
    unit = "pi-cluster-default.service"
    assert host.sudo("systemctl", "kill", "--signal=KILL", unit).code == 0
    eventually(lambda: operator.run("pi-cluster", "status"), lambda told: told.code == 0, 60)
    assert answered_ids(operator) == golden_ids()


def test_doctor_asks_the_host_why_its_worker_does_not_answer(up, operator):
    _, (host, _) = up
    unit = "pi-cluster-default.service"
    assert host.sudo("systemctl", "stop", unit).code == 0
    told = operator.run("pi-cluster", "doctor", "--json")
    assert told.code == 1
    [found] = [one for one in json.loads(told.out)["findings"] if one["severity"] == "problem"]
    assert "its service is inactive (dead)" in found["what"], found
    assert "ssh pi@pi1.local journalctl -u pi-cluster-default" in found["to_do"]
    assert host.sudo("systemctl", "start", unit).code == 0
    eventually(lambda: operator.run("pi-cluster", "status"), lambda told: told.code == 0, 60)
    assert answered_ids(operator) == golden_ids()


def test_hosts_are_remembered_without_a_secret(up, operator):
    path = operator.home / ".local/state/pi-cluster/default/hosts.json"
    known = json.loads(path.read_text())["hosts"]
    assert [one["host"]["host"] for one in known] == ["pi1.local", "pi2.local"]
    assert all(one["node_id"] and one["address"] for one in known)


def test_a_power_cut_in_mid_answer_costs_seconds_and_no_token(up, operator, network, store):
    _, (_, second) = up
    words = ("pi-cluster", "prompt", "--ids", "1,3,2,558,355", "--temperature", "0")
    words += ("--repeat-penalty", "1e9", "--max-tokens", "500")
    whole = operator.run(*words)
    running = operator.start(*words)
    running.read(50)
    network.unplug(second.host)  # or its kernel would still say that the connections have ended
    second.power_cut()
    outcome = running.end(120)
    assert (outcome.code, outcome.out) == (0, whole.out), outcome.err
    assert "pi2 stopped answering; going on with pi1 after " in outcome.err
    network.plug(second.host)
    second.power_on()
    second.wait_for_ssh()
    again = operator.run("pi-cluster", "up", str(store), "--hosts", HOSTS, timeout_s=120)
    assert again.code == 0 and "ready: 2 stages" in again.err, again
    assert answered_ids(operator) == golden_ids()

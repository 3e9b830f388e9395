"""What goes wrong with hosts, and how the same command mends it."""

import pytest

from tests.hosts.golden import answered_ids, golden_ids
from tests.hosts.wheels import bring_wheels
from tests.support.cluster_process import eventually
from tests.testbed.card import CardSettings
from tests.testbed.systemd_host import SystemdHost

PASSWORD = "right horse"
UNIT = "pi-cluster-default.service"

pytestmark = [pytest.mark.hosts, pytest.mark.thorough, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def trio(operator, tmp_path_factory):
    """Three hosts, of which the third wants a password for sudo."""
    folder = tmp_path_factory.mktemp("cards")
    bring_wheels(operator)
    assert operator.run("pi-cluster", "init").code == 0
    with (
        SystemdHost(operator, 1, folder / "pi1") as first,
        SystemdHost(operator, 2, folder / "pi2") as second,
        SystemdHost(operator, 3, folder / "pi3", CardSettings(sudo_password=PASSWORD)) as third,
    ):
        hosts = (first, second, third)
        for host in hosts:
            host.wait_for_ssh()
        yield hosts


@pytest.fixture
def up(operator, store):
    """Runs `up` for some hosts."""

    def run(*names, **settings):
        words = ["pi-cluster", "up", str(store)]
        if names:
            words += ["--hosts", ",".join(f"pi@{name}.local" for name in names)]
        if password := settings.get("password"):
            words.append("--ask-sudo-password")
        stdin = f"{password}\n".encode() if password else b""
        return operator.run(*words, stdin=stdin, timeout_s=600)

    return run


def test_a_power_cut_in_the_middle_of_an_install_costs_only_the_rest(trio, operator, up, store):
    host = trio[0]
    running = operator.start("pi-cluster", "up", str(store), "--hosts", "pi@pi1.local")
    eventually(lambda: running.error_text, lambda text: "installing" in text, within_s=120)
    venvs = ("sh", "-c", "ls -d /opt/pi-cluster/default/venv-*/lib/python3*/site-packages/*")
    eventually(lambda: host.run(*venvs).out.split(), lambda found: len(found) > 5, within_s=120)
    host.power_cut()
    broken = running.end(timeout_s=120)
    assert broken.code == 1
    assert "pi1.local: the connection was lost" in broken.err
    assert "run the same command again" in broken.err
    host.power_on()
    host.wait_for_ssh()
    again = up("pi1")
    assert again.code == 0, again
    sent = again.err.count("sending the program")
    assert sent == 1
    assert answered_ids(operator) == golden_ids()
    left = host.run("sh", "-c", "ls -d /opt/pi-cluster/default/venv-* | wc -l").out
    assert left.strip() == "1"


def test_one_hosts_failure_leaves_the_others_ready_and_is_named(trio, operator, up):
    missing = up("pi1", "pi2", "pi3")
    assert missing.code == 1
    assert "pi3.local: sudo needs a password" in missing.err
    assert "--ask-sudo-password" in missing.err
    assert "ready: 2 stages" in missing.err
    assert answered_ids(operator) == golden_ids()


def test_a_wrong_sudo_password_is_named_and_nothing_is_changed(trio, up):
    wrong = up("pi3", password="wrong horse")
    assert wrong.code == 1
    assert "pi3.local: this sudo password is not accepted" in wrong.err
    assert "wrong horse" not in wrong.err + wrong.out
    assert trio[2].sudo("find", "/opt", "/var/lib", "-name", "pi-cluster*").out == ""


def test_with_the_right_password_the_third_host_joins_the_others(trio, operator, up):
    joined = up("pi1", "pi2", "pi3", password=PASSWORD)
    assert joined.code == 0, joined
    assert "3 hosts ready, 1 changed" in joined.err
    assert answered_ids(operator) == golden_ids()


def test_again_nothing_is_changed_on_three_hosts(trio, up):
    again = up("pi1", "pi2", "pi3")  # without the password: nothing needs it
    assert again.code == 0, again
    assert "3 hosts ready, nothing to change" in again.err
    assert "already up" in again.err


def test_a_host_that_reboots_is_back_with_its_stage(trio, operator):
    trio[0].reboot()
    eventually(
        lambda: operator.run("pi-cluster", "status").code, lambda code: code == 0, within_s=60
    )
    assert answered_ids(operator) == golden_ids()


def test_a_host_that_is_gone_does_not_hold_up_the_others(trio, operator, up, network):
    network.unplug(trio[1].host)
    gone = up("pi1", "pi2", "pi3")
    network.plug(trio[1].host)
    assert gone.code == 1
    assert "error: pi2.local: it does not answer" in gone.err
    assert "ready: 2 stages" in gone.err
    assert answered_ids(operator) == golden_ids()
    trio[1].wait_for_ssh()


def test_a_flashed_host_is_refused_until_its_old_key_is_forgotten(trio, operator, up):
    operator.run("pi-cluster", "up", "--hosts", "pi@pi2.local")
    trio[1].reflash()
    trio[1].wait_for_ssh()
    refused = up("pi1", "pi2", "pi3")
    assert refused.code == 1
    assert "SSH host key is not the one that this machine remembers" in refused.err
    assert "-R pi2.local" in refused.err
    assert operator.run("ssh-keygen", "-R", "pi2.local").code == 0
    again = up("pi1", "pi2", "pi3")
    assert again.code == 0, again
    assert "pi2.local came back as another node" in again.err
    assert "is revoked" in again.err
    assert answered_ids(operator) == golden_ids()


def test_down_purge_leaves_nothing_and_names_whom_it_could_not_reach(trio, operator, network):
    network.unplug(trio[1].host)
    words = ("pi-cluster", "down", "--purge", "--ask-sudo-password")
    partly = operator.run(*words, stdin=f"{PASSWORD}\n".encode(), timeout_s=200)
    network.plug(trio[1].host)
    assert partly.code == 1
    assert "2 hosts cleared" in partly.err
    assert "not cleared: pi2.local: it does not answer" in partly.err
    trio[1].wait_for_ssh()
    rest = operator.run(*words, stdin=f"{PASSWORD}\n".encode(), timeout_s=200)
    assert rest.code == 0, rest
    assert "1 host cleared" in rest.err
    for host in trio:
        search = ("find", "/", "-xdev", "-name", "*pi-cluster*", "-not", "-path", "/proc/*")
        assert host.sudo(*search).out == ""
        assert host.run("getent", "passwd", "pi-cluster").out == ""
        assert UNIT not in host.run("systemctl", "list-units", "--all", "--no-pager").out


def test_a_card_without_room_is_refused_before_anything_is_installed(trio, operator, up, tmp_path):
    with SystemdHost(operator, 4, tmp_path / "pi4", CardSettings(free_bytes=200 << 20)) as small:
        small.wait_for_ssh()
        refused = up("pi4")
        assert refused.code == 1
        assert "pi4.local: its disk has 1" in refused.err
        assert "for the program" in refused.err and "nothing was installed" in refused.err
        assert small.run("ls", "/opt").out == ""

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


def is_set_up(host):
    return host.run("ls", "/opt/pi-cluster").code == 0


def clear(operator):
    """Take everything of ours from the three hosts."""
    words = ("pi-cluster", "down", "--purge", "--ask-sudo-password")
    done = operator.run(*words, stdin=f"{PASSWORD}\n".encode(), timeout_s=200)
    assert done.code == 0, done


# Each test asks for the state that it begins in, and finds it in whatever order they run.


@pytest.fixture
def untouched(trio, operator):
    """The hosts, none of which has anything of ours."""
    if any(map(is_set_up, trio)):
        clear(operator)
    return trio


@pytest.fixture
def third_untouched(trio, operator):
    """The hosts, of which the third has nothing of ours."""
    if is_set_up(trio[2]):
        clear(operator)
    return trio


@pytest.fixture
def two_of_three(third_untouched, up):
    """The hosts, of which the first two are set up."""
    ready = up("pi1", "pi2")
    assert ready.code == 0, ready
    return third_untouched


@pytest.fixture
def all_three(trio, up):
    """The hosts, set up as one pipeline."""
    ready = up("pi1", "pi2", "pi3", password=PASSWORD)
    assert ready.code == 0, ready
    return trio


def test_a_power_cut_in_the_middle_of_an_install_costs_only_the_rest(
    untouched, operator, up, store
):
    host = untouched[0]
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


def test_one_hosts_failure_leaves_the_others_ready_and_is_named(third_untouched, operator, up):
    missing = up("pi1", "pi2", "pi3")
    assert missing.code == 1
    assert "pi3.local: sudo needs a password" in missing.err
    assert "--ask-sudo-password" in missing.err
    assert "ready: 2 stages" in missing.err
    assert answered_ids(operator) == golden_ids()


def test_a_wrong_sudo_password_is_named_and_nothing_is_changed(third_untouched, up):
    wrong = up("pi3", password="wrong horse")
    assert wrong.code == 1
    assert "pi3.local: this sudo password is not accepted" in wrong.err
    assert "wrong horse" not in wrong.err + wrong.out
    host = third_untouched[2]
    assert host.sudo("find", "/opt", "/var/lib", "-name", "pi-cluster*").out == ""


def test_with_the_right_password_the_third_host_joins_the_others(two_of_three, operator, up):
    joined = up("pi1", "pi2", "pi3", password=PASSWORD)
    assert joined.code == 0, joined
    assert "3 hosts ready, 1 changed" in joined.err
    assert answered_ids(operator) == golden_ids()


def test_again_nothing_is_changed_on_three_hosts(all_three, up):
    again = up("pi1", "pi2", "pi3")  # without the password: nothing needs it
    assert again.code == 0, again
    assert "3 hosts ready, nothing to change" in again.err
    assert "already up" in again.err


def test_a_host_that_reboots_is_back_with_its_stage(all_three, operator):
    all_three[0].reboot()
    eventually(
        lambda: operator.run("pi-cluster", "status").code, lambda code: code == 0, within_s=60
    )
    assert answered_ids(operator) == golden_ids()


def test_a_host_that_is_gone_does_not_hold_up_the_others(all_three, operator, up, network):
    network.unplug(all_three[1].host)
    gone = up("pi1", "pi2", "pi3")
    network.plug(all_three[1].host)
    assert gone.code == 1
    assert "error: pi2.local: it does not answer" in gone.err
    assert "ready: 2 stages" in gone.err
    assert answered_ids(operator) == golden_ids()
    all_three[1].wait_for_ssh()


def test_a_flashed_host_is_refused_until_its_old_key_is_forgotten(all_three, operator, up):
    operator.run("pi-cluster", "up", "--hosts", "pi@pi2.local")
    all_three[1].reflash()
    all_three[1].wait_for_ssh()
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


def test_down_purge_leaves_nothing_and_names_whom_it_could_not_reach(all_three, operator, network):
    network.unplug(all_three[1].host)
    words = ("pi-cluster", "down", "--purge", "--ask-sudo-password")
    partly = operator.run(*words, stdin=f"{PASSWORD}\n".encode(), timeout_s=200)
    network.plug(all_three[1].host)
    assert partly.code == 1
    assert "2 hosts cleared" in partly.err
    assert "not cleared: pi2.local: it does not answer" in partly.err
    all_three[1].wait_for_ssh()
    rest = operator.run(*words, stdin=f"{PASSWORD}\n".encode(), timeout_s=200)
    assert rest.code == 0, rest
    assert "1 host cleared" in rest.err
    for host in all_three:
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

"""Hosts that cannot be nodes: each is told why and what to do, and nothing is changed there."""

import pytest

from tests.hosts.golden import answered_ids, golden_ids
from tests.hosts.wheels import bring_wheels
from tests.testbed.rootfs import BOOKWORM_32_BIT, BULLSEYE, WITH_FAKETIME
from tests.testbed.systemd_host import SystemdHost

HOSTS = "pi@pi1.local,pi@pi2.local,pi@pi3.local,pi@pi4.local"
MONTH_BEHIND = (
    "SetEnv LD_PRELOAD=/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1 FAKETIME=-30d\n"
)

pytestmark = [pytest.mark.hosts, pytest.mark.thorough, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def hosts(operator, tmp_path_factory):
    """A good host, an old one, one of 32 bit, and one whose clock is behind for who logs in."""
    folder = tmp_path_factory.mktemp("cards")
    bring_wheels(operator)
    assert operator.run("pi-cluster", "init").code == 0
    with (
        SystemdHost(operator, 1, folder / "pi1") as good,
        SystemdHost(operator, 2, folder / "pi2", recipe=BULLSEYE) as old,
        SystemdHost(operator, 3, folder / "pi3", recipe=BOOKWORM_32_BIT) as narrow,
        SystemdHost(operator, 4, folder / "pi4", recipe=WITH_FAKETIME) as late,
    ):
        hosts = (good, old, narrow, late)
        for host in hosts:
            host.wait_for_ssh()
        settings = "/etc/ssh/sshd_config.d/clock.conf"
        assert late.run("sudo", "tee", settings, stdin=MONTH_BEHIND).code == 0
        assert late.sudo("systemctl", "reload", "ssh").code == 0
        yield hosts


@pytest.fixture(scope="module")
def up(hosts, operator, store):
    """What `up` said about all four."""
    words = ("pi-cluster", "up", str(store), "--hosts", HOSTS)
    return operator.run(*words, timeout_s=600)


def told(outcome, host):
    """The sentence about a host that is not ready."""
    [line] = [one for one in outcome.err.splitlines() if one.startswith(f"error: {host.name}.loc")]
    return line


def traces(host):
    """Whatever of this program is on a host."""
    files = host.sudo("find", "/", "-xdev", "-name", "*pi-cluster*", "-not", "-path", "/proc/*")
    return files.out + host.run("getent", "passwd", "pi-cluster").out


def test_the_good_host_is_ready_and_the_command_fails_for_the_others(up, operator):
    assert up.code == 1, up
    assert "1 host ready, 1 changed" in up.err and "3 hosts not ready" in up.err
    assert "ready: 1 stage" in up.err
    assert answered_ids(operator) == golden_ids()


def test_an_old_system_is_named_with_its_python_and_what_to_flash(up, hosts):
    old = hosts[1]
    assert old.run("python3", "--version").out == "Python 3.9.2\n"
    assert "it has CPython 3.9.2 (Debian GNU/Linux 11 (bullseye))" in told(up, old)
    assert "needs Python 3.11: flash a newer Raspberry Pi OS (64-bit)" in told(up, old)
    assert traces(old) == ""


def test_a_system_of_32_bit_is_refused_though_its_kernel_has_64(up, hosts):
    narrow = hosts[2]
    assert narrow.run("uname", "-m").out == "x86_64\n"
    assert "its system has 32 bit (Debian GNU/Linux 12 (bookworm)" in told(up, narrow)
    assert "with a kernel for x86_64" in told(up, narrow)
    assert "flash the 64-bit Raspberry Pi OS" in told(up, narrow)
    assert traces(narrow) == ""


def test_a_clock_that_is_a_month_behind_is_named_with_what_sets_it(up, hosts):
    late = hosts[3]
    assert "its clock is 30.0 days behind" in told(up, late)
    assert "sudo timedatectl set-ntp true" in told(up, late)
    assert traces(late) == ""


def test_unfit_hosts_are_not_remembered(up, operator, store):
    again = operator.run("pi-cluster", "up", str(store), timeout_s=200)
    assert again.code == 0, again
    assert "1 host ready, nothing to change" in again.err


def test_a_second_cluster_is_told_who_has_the_port_and_the_first_goes_on(
    up, hosts, operator, store
):
    good = hosts[0]
    assert operator.run("pi-cluster", "init", "--cluster", "other").code == 0
    words = ("pi-cluster", "up", str(store), "--hosts", "pi@pi1.local", "--cluster", "other")
    second = operator.run(*words, timeout_s=400)
    assert second.code == 1
    assert "pi1.local: port 7711 is taken there by pi-cluster-default.service" in second.err, second
    assert "use another Pi, or clear that cluster from all its hosts" in second.err
    assert "`pi-cluster down --purge --cluster default`" in second.err
    assert "nothing was changed there" in second.err
    assert good.run("ls", "/opt/pi-cluster", "/etc/systemd/system").out.count("other") == 0
    assert answered_ids(operator) == golden_ids()


def test_the_second_cluster_has_the_host_when_the_first_is_purged(up, operator, store):
    purged = operator.run("pi-cluster", "down", "--purge", timeout_s=200)
    assert purged.code == 0, purged
    words = ("pi-cluster", "up", str(store), "--hosts", "pi@pi1.local", "--cluster", "other")
    second = operator.run(*words, timeout_s=400)
    assert second.code == 0, second
    assert "ready: 1 stage" in second.err

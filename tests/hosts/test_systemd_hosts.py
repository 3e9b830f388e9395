"""The test bed's own hosts do what tests of rollouts count on."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cluster_process import eventually
from tests.testbed.card import CardSettings
from tests.testbed.systemd_host import SystemdHost

ROOT = Path(__file__).parents[2]
CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], 22), 1)"
PASSWORD = "right horse"

pytestmark = [pytest.mark.hosts, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def pair(operator, tmp_path_factory):
    """Two hosts, switched on together; whoever uses them leaves them on and plugged in."""
    folder = tmp_path_factory.mktemp("pair")
    with (
        SystemdHost(operator, 1, folder / "pi1") as first,
        SystemdHost(operator, 2, folder / "pi2", CardSettings(sudo_password=PASSWORD)) as second,
    ):
        first.wait_for_ssh()
        second.wait_for_ssh()
        yield first, second


def sees(host, name):
    return host.run("python3", "-c", CONNECT, name).code == 0


def link(network, host):
    """What the host tells of its cable."""
    command = ["ip", "link", "show", "eth0"]
    return network.popen(host, command, stdout=subprocess.PIPE, text=True).communicate()[0]


def test_a_host_boots_without_a_failed_unit(pair):
    for host in pair:
        assert host.run("systemctl", "is-system-running", "--wait").out == "running\n"
        assert host.run("hostname").out == f"{host.name}\n"


def test_a_host_has_nothing_that_a_fresh_pi_may_lack(pair):
    for module in ("pip", "ensurepip"):
        assert "No module named" in pair[0].run("python3", "-m", module).err
    assert pair[0].run("sh", "-c", "command -v gcc cc cmake").out == ""


def test_systemd_of_one_host_does_not_touch_the_units_of_another(pair):
    first, second = pair
    assert first.sudo("systemctl", "stop", "avahi-daemon.socket", "avahi-daemon").code == 0
    assert second.run("systemctl", "is-active", "avahi-daemon").out == "active\n"
    assert second.run("pgrep", "-c", "avahi-daemon").out == "2\n"
    assert first.sudo("systemctl", "start", "avahi-daemon").code == 0


def test_a_reboot_keeps_the_disk_and_ends_what_ran(pair):
    host, _ = pair
    host.run("touch", "kept", "/run/user/1000/forgotten")
    host.reboot()
    assert host.run("ls").out.split() == ["kept"]
    assert host.run("ls", "/run/user/1000/forgotten").code == 2


def test_a_power_cut_ends_everything_and_leaves_the_disk(pair):
    host, _ = pair
    host.run("touch", "written")
    service = ("systemd-run", "--unit", "lasting", "sleep", "1000")
    assert host.sudo(*service).code == 0
    host.power_cut()
    assert host.run("true").code == 255
    host.power_on()
    host.wait_for_ssh()
    assert "written" in host.run("ls").out
    assert host.run("pgrep", "sleep").out == ""


def test_a_flashed_card_is_new_and_has_another_host_key(pair, operator):
    host, _ = pair
    operator.remember(host.known_host)
    login = ("ssh", "-o", "BatchMode=yes", f"{host.name}.local", "ls")
    host.run("touch", "old")
    assert "old" in operator.run(*login).out
    host.reflash()
    host.wait_for_ssh()
    assert host.run("ls").out == ""
    assert "REMOTE HOST IDENTIFICATION HAS CHANGED" in operator.run(*login).err


def test_an_operator_does_not_know_a_host_of_the_first_day(pair, operator):
    login = operator.run("ssh", "-o", "BatchMode=yes", f"{pair[1].name}.local", "true")
    assert (login.code, login.err) == (255, "Host key verification failed.\r\n")


def test_the_operator_is_at_the_switch_and_for_downloads_on_the_machines_network(operator):
    network = ("readlink", "/proc/self/ns/net")
    assert operator.run_online(*network).out == f"{Path('/proc/self/ns/net').readlink()}\n"
    assert operator.run(*network).out != operator.run_online(*network).out
    assert operator.run("pwd").out == operator.run_online("pwd").out == f"{operator.home}\n"


def test_sudo_takes_no_wrong_password(pair):
    free, guarded = pair
    assert free.run("sudo", "-n", "id", "-u").out == "0\n"
    assert guarded.run("sudo", "-n", "id", "-u").code == 1
    wrong = guarded.run("sudo", "-S", "-p", "", "id", "-u", stdin="wrong horse\n")
    assert (wrong.code, wrong.out) == (1, "")
    assert guarded.sudo("id", "-u").out == "0\n"


def test_hosts_see_each_other_by_name_unless_unplugged_or_kept_apart(pair, network):
    first, second = pair
    assert sees(first, "pi2.local")
    network.unplug(second.host)
    assert "NO-CARRIER" in link(network, second.host) and not sees(first, "pi2.local")
    network.plug(second.host)
    second.wait_for_ssh()
    network.partition({second.host})
    assert "NO-CARRIER" not in link(network, second.host)
    assert not sees(first, "pi2.local")
    network.heal()
    second.wait_for_ssh()
    assert sees(first, "pi2.local")


def test_a_small_card_is_soon_full_and_little_memory_is_shown(operator, tmp_path):
    settings = CardSettings(free_bytes=200 << 20, shown_memory_bytes=1 << 30)
    with SystemdHost(operator, 3, tmp_path / "pi3", settings) as host:
        host.wait_for_ssh()
        free = int(host.run("df", "--output=avail", "-B1", "/").out.split()[1])
        assert 180 << 20 < free < 200 << 20
        full = host.run("dd", "if=/dev/zero", "of=large", "bs=1M", "count=220")
        assert full.code == 1 and "No space left on device" in full.err
        assert "MemTotal:        1048576 kB" in host.run("cat", "/proc/meminfo").out
        host.power_cut()
        host.power_on()
        host.wait_for_ssh()
        assert host.run("rm", "large").code == 0


def test_a_killed_test_leaves_no_process_and_no_mount(tmp_path):
    program = [sys.executable, "-m", "tests.hosts.forgotten_host", str(tmp_path)]
    process = subprocess.Popen(program, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "on\n"
        assert processes_below(tmp_path)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    eventually(lambda: processes_below(tmp_path), lambda left: not left, within_s=20)


def processes_below(folder):
    """Processes with a mount below ``folder``; the hosts' are seen by nobody else."""
    found = []
    for mounts in Path("/proc").glob("[0-9]*/mounts"):
        try:
            if str(folder) in mounts.read_text():
                found.append(mounts.parent.name)
        except OSError:
            continue  # it has ended meanwhile
    return found

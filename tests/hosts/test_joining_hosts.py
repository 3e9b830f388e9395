"""Pis that join by themselves: one on its first start by cloud-init, one by lines that are pasted.

Hosts have no way out to the internet, so what pip would fetch there lies on the operator's
computer, and each card says so to pip. Everything else is as a person has it.
"""

import re
import shutil
import sys

import pytest

from pi_cluster.deploy.wheels.wheelhouse import wheelhouse
from tests.hosts.clone import make_clone, printed_lines
from tests.hosts.golden import answered_ids, golden_ids
from tests.hosts.wheels import PI_OS_LITE as TARGET
from tests.support.cluster_process import eventually
from tests.testbed.card import CardSettings
from tests.testbed.rootfs import PI_OS_WITH_CLOUD_INIT
from tests.testbed.systemd_host import SystemdHost

PIP_CONF = """[global]
no-index = true
find-links = http://{address}:{port}/
trusted-host = {address}
"""
# Of a clone: what builds the program is none of its wheels.
BUILD_NEEDS = ("scikit-build-core>=0.11", "cmake", "ninja")
CLOUD_CFG = """# The network is there before systemd starts, and not cloud-init's to set up.
network: {config: disabled}
# The tests know the host by the key that lies on its card, and by the name in its hosts file.
ssh_deletekeys: false
preserve_hostname: true
manage_etc_hosts: false
# The package that makes locales is not part of this small system.
locale: false
"""
SEED = "var/lib/cloud/seed/nocloud"
TOKEN_FILE = "/root/pi-cluster.token"
UNIT = "pi-cluster-default.service"
DOCUMENT, SECTION = "docs/getting-started.md", "A Pi that joins by itself"

pytestmark = [pytest.mark.hosts, pytest.mark.thorough, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def pip_conf(operator):
    """Where pip on the hosts finds wheels: at a web server of the operator's."""
    wheels = operator.home / "wheels"
    wheels.mkdir()
    for wheel in wheelhouse(TARGET, None).wheels:
        shutil.copy(wheel.path, wheels)
    words = (sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:")
    got = operator.run_online(*words, "--dest", str(wheels), *BUILD_NEEDS, timeout_s=300)
    assert got.code == 0, got
    server = operator.start(
        *(sys.executable, "-u", "-m", "http.server", "0", "--directory", str(wheels))
    )
    port = re.search(r"port ([0-9]+)", server.read_line())[1]
    yield PIP_CONF.format(address=operator.network.address(0), port=port)
    server.stop()


@pytest.fixture(scope="module")
def folder(operator, tmp_path_factory):
    """For the cards of the hosts of a cluster that is initialised."""
    assert operator.run("pi-cluster", "init").code == 0
    return tmp_path_factory.mktemp("cards")


@pytest.fixture(scope="module")
def pair(operator, pip_conf, folder):
    """A host that finds user-data on its first start, and one that somebody sits at."""
    pip = {"etc/pip.conf": pip_conf}
    recipe = PI_OS_WITH_CLOUD_INIT
    with (
        SystemdHost(operator, 1, folder / "pi1", seeded(operator, pip), recipe) as first,
        SystemdHost(operator, 2, folder / "pi2", CardSettings(files=pip), recipe) as second,
    ):
        first.wait_for_ssh()
        second.wait_for_ssh()
        yield first, second


@pytest.fixture(scope="module")
def in_clone(operator, pair):
    """Runs a line on the second host, in a clone of this repository there."""
    host = pair[1]
    clone = make_clone(operator.home / "pi-cluster")
    operator.remember(host.known_host)
    copied = operator.run("scp", "-qr", str(clone), f"{host.name}.local:pi-cluster")
    assert copied.code == 0, copied

    def run(line):
        done = host.run("sh", "-c", f"cd pi-cluster && {line}", timeout_s=300)
        assert done.code == 0, (line, done)
        return done

    return run


@pytest.fixture(scope="module")
def lines():
    """What the document has one paste on the Pi: to install, to upgrade, to be rid of it."""
    return printed_lines(DOCUMENT, SECTION)


def seeded(operator, files):
    """A card that carries user-data as the command prints it."""
    made = operator.run("pi-cluster", "token", "create", "--cloud-init")
    assert made.code == 0, made
    seed = {f"{SEED}/user-data": made.out, f"{SEED}/meta-data": "instance-id: pi\n"}
    return CardSettings(files=files | seed | {"etc/cloud/cloud.cfg.d/99-testbed.cfg": CLOUD_CFG})


def first_start(host):
    """How cloud-init has ended, and what it said."""
    waited = host.run("cloud-init", "status", "--wait", timeout_s=300)
    log = host.sudo("tail", "-n", "40", "/var/log/cloud-init-output.log").out
    return waited.out.strip(" .\n"), log


def up_with(operator, store, stages):
    up = operator.run("pi-cluster", "up", str(store), timeout_s=200)
    assert up.code == 0, up
    assert f"ready: {stages}" in up.err
    assert answered_ids(operator) == golden_ids()
    return up.err


def test_cloud_init_makes_a_node_of_a_fresh_host(pair, operator, store):
    host = pair[0]
    status, log = first_start(host)
    assert status == "status: done", log
    assert host.run("systemctl", "is-active", UNIT).out == "active\n", log
    assert host.sudo("ls", TOKEN_FILE).code == 2
    assert "admitted pi1" in up_with(operator, store, "1 stage")
    assert host.run("sh", "-c", "cd / && pi-cluster --version").code == 0


def test_it_is_back_after_a_reboot_and_joins_no_second_time(pair, operator):
    host = pair[0]
    host.reboot()
    eventually(
        lambda: operator.run("pi-cluster", "status").code, lambda code: code == 0, within_s=60
    )
    host.run("cloud-init", "status", "--wait", timeout_s=60)
    joined = ("grep", "-c", "waits for the operator", "/var/log/cloud-init-output.log")
    assert host.sudo(*joined).out == "1\n"
    assert answered_ids(operator) == golden_ids()


def test_the_lines_of_the_document_make_a_node_of_the_other(pair, operator, store, in_clone, lines):
    install, _, _ = lines
    for line in install:
        in_clone(line)
    pasted = operator.run("pi-cluster", "token", "create").out
    assert f"{UNIT} waits for the operator" in in_clone(pasted.strip()).err
    assert "admitted pi2" in up_with(operator, store, "2 stages")


def test_a_second_cluster_is_not_joined_on_the_same_port(pair, operator):
    host, token = pair[1], operator.run("pi-cluster", "token", "create").out.split()[-1]
    words = ("sudo", "pi-cluster", "join", "-", "--cluster", "other")
    refused = host.run(*words, stdin=f"{token}\n")
    assert refused.code == 1, refused
    assert f"port 7711 is taken here by {UNIT}" in refused.err
    assert "sudo pi-cluster leave --cluster default" in refused.err
    assert host.sudo("ls", "/var/lib/pi-cluster").out == "default\n"


def test_the_lines_for_an_upgrade_leave_it_a_node(pair, operator, in_clone, lines):
    _, upgrade, _ = lines
    marked = "sed -i 's/Pi, be a node/Pi: be a node/' deploy/commands/leave.py"
    in_clone(marked)
    for line in upgrade:
        in_clone(line)
    site = "/opt/pi-cluster-program/lib/python3.11/site-packages"
    installed = f"{site}/pi_cluster/deploy/commands/leave.py"
    assert pair[1].run("grep", "-c", "Pi: be a node", installed).out == "1\n"
    eventually(
        lambda: operator.run("pi-cluster", "status").code, lambda code: code == 0, within_s=60
    )
    assert answered_ids(operator) == golden_ids()


def test_the_lines_for_leaving_leave_nothing(pair, operator, store, in_clone, lines):
    _, _, (leave, remove) = lines
    host = pair[1]
    assert "sudo pi-cluster leave" in host.run("pi-cluster", "leave").err
    left = in_clone(leave)
    assert remove in left.err
    assert host.run("pi-cluster", "--version").code == 0
    revoke = re.search(r"on the operator's machine: (pi-cluster node revoke \w+);", left.err)[1]
    again = host.run("sudo", "pi-cluster", "leave")
    assert again.code == 1 and "has joined cluster 'default'" in again.err
    in_clone(remove)
    host.sudo("rm", "-r", "pi-cluster")  # pip, as root, has built in it
    search = ("find", "/", "-xdev", "-name", "*pi-cluster*", "-not", "-path", "/proc/*")
    assert host.sudo(*search).out == ""
    assert host.run("getent", "passwd", "pi-cluster").out == ""
    assert UNIT not in host.run("systemctl", "list-units", "--all", "--no-pager").out
    assert operator.run(*revoke.split()).code == 0
    up_with(operator, store, "1 stage")


def test_a_first_start_without_the_package_index_is_told_and_made_up_for(
    pair, operator, store, pip_conf, folder
):
    settings = seeded(operator, {})
    with SystemdHost(operator, 3, folder / "pi3", settings, PI_OS_WITH_CLOUD_INIT) as host:
        host.wait_for_ssh()
        status, log = first_start(host)
        assert status == "status: error" and "No matching distribution" in log
        assert host.sudo("stat", "--format=%a", TOKEN_FILE).out == "600\n"
        assert host.run("systemctl", "is-active", UNIT).out == "inactive\n"
        host.run("sudo", "tee", "/etc/pip.conf", stdin=pip_conf)
        host.sudo("cloud-init", "clean")
        host.reboot()
        status, log = first_start(host)
        assert status == "status: done", log
        assert "admitted pi3" in up_with(operator, store, "2 stages")

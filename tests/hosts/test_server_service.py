"""`pi-cluster serve --install` on a host with systemd: it starts, comes back, logs and goes."""

import json
import sys

import pytest

from pi_cluster.deploy.wheels.wheelhouse import wheelhouse
from tests.hosts.wheels import PI_OS_LITE
from tests.support.cluster_process import eventually
from tests.testbed.systemd_host import SystemdHost

UNIT = "serve-pi-cluster-default.service"
SITE = "/usr/local/lib/python3.11/dist-packages"
SECRET = "my-secret-diary"
ASK = """
import json, sys, urllib.request
body = sys.argv[2].encode() if len(sys.argv) > 2 else None
request = urllib.request.Request("http://127.0.0.1:8080" + sys.argv[1], body)
print(urllib.request.urlopen(request, timeout=30).read().decode())
"""

pytestmark = [pytest.mark.hosts, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def host(operator, tmp_path_factory):
    """A host with pi-cluster and its extra `serve`, as packages of the system's Python."""
    site = operator.home / "site"
    (project,) = (w for w in wheelhouse(PI_OS_LITE, None).wheels if "pi_cluster" in w.path.name)
    words = (sys.executable, "-m", "pip", "install", "--quiet", "--only-binary=:all:")
    got = operator.run_online(*words, "--target", str(site), f"{project.path}[serve]")
    assert got.code == 0, got
    with SystemdHost(operator, 1, tmp_path_factory.mktemp("card") / "pi1") as host:
        host.wait_for_ssh()
        operator.remember(host.known_host)
        assert operator.run("scp", "-qr", str(site), f"{host.name}.local:site").code == 0
        assert host.sudo("cp", "-r", "/home/pi/site/.", SITE).code == 0
        yield host


@pytest.fixture(params=["user", "system"])
def runner(request, host):
    """How commands are run for a service of the user, and for one of the system."""
    is_system = request.param == "system"
    return Runner(host, is_system)


class Runner:
    """One who has a service: the user, or root for the system."""

    def __init__(self, host, is_system):
        self._run = host.sudo if is_system else host.run
        self._sudo = host.sudo
        self.options = ("--system",) if is_system else ()
        self._scope = () if is_system else ("--user",)

    def command(self, *words):
        done = self._run("python3", "-m", "pi_cluster.deploy", *words)
        assert done.code == 0, (words, done)
        return done

    def systemctl(self, *words):
        return self._run("systemctl", *self._scope, *words).out.strip()

    def process_id(self):
        return int(self.systemctl("show", "--property=MainPID", "--value", UNIT))

    def log(self):
        field = "_SYSTEMD_USER_UNIT" if self._scope else "_SYSTEMD_UNIT"
        return self._sudo("journalctl", "--no-pager", "-o", "cat", f"{field}={UNIT}").out

    def ask(self, path, body=None):
        words = (path,) if body is None else (path, json.dumps(body))
        return self._run("python3", "-c", ASK, *words)

    def is_answered(self):
        eventually(lambda: self.ask("/health"), lambda told: "ok" in told.out, within_s=60)
        said = {"prompt": SECRET, "max_tokens": 3}
        told = self.ask("/v1/completions", said)
        assert told.code == 0 and json.loads(told.out)["usage"]["completion_tokens"] == 3, told


def test_a_service_serves_once_a_pipeline_is_up_comes_back_and_leaves_nothing(runner):
    said = runner.command("serve", "--install", *runner.options)
    assert f"{UNIT} runs" in said.err
    eventually(runner.log, lambda log: "no pipeline is up" in log, within_s=30)
    runner.command("up", "--local", "1")
    try:
        runner.is_answered()
        first = runner.process_id()
        runner.systemctl("kill", "--signal=KILL", "--kill-whom=main", UNIT)
        eventually(runner.process_id, lambda now: now not in (0, first), within_s=30)
        runner.is_answered()
        log = runner.log()
        assert "POST /v1/completions 200" in log and SECRET not in log
        assert runner.systemctl("is-enabled", UNIT) == "enabled"
    finally:
        gone = runner.command("serve", "--uninstall", *runner.options)
        runner.command("down")
    assert "removed" in gone.err
    assert runner.systemctl("is-active", UNIT) == "inactive"
    assert runner.ask("/health").code != 0
    again = runner.command("serve", "--uninstall", *runner.options)
    assert "not installed" in again.err

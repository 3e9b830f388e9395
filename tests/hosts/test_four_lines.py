"""The four lines of the README, as they stand there, on three fresh hosts."""

import pytest

from tests.hosts.clone import make_clone, printed_lines
from tests.testbed.systemd_host import SystemdHost

GET_WHEELS = """
from deploy.wheelhouse import Target, wheelhouse
wheelhouse(Target((3, 11), "x86_64", 36), None)
"""

pytestmark = [pytest.mark.hosts, pytest.mark.thorough, pytest.mark.timeout(1200)]


def four_lines():
    lines = printed_lines("README.md", "On three Pis")[0]
    assert len(lines) == 4
    return lines


@pytest.fixture(scope="module")
def clone(operator):
    """A clone of this repository in the operator's home."""
    return make_clone(operator.home / "pi-cluster")


@pytest.fixture(scope="module")
def hosts(operator, tmp_path_factory):
    """Three fresh hosts."""
    folder = tmp_path_factory.mktemp("cards")
    with (
        SystemdHost(operator, 1, folder / "pi1") as first,
        SystemdHost(operator, 2, folder / "pi2") as second,
        SystemdHost(operator, 3, folder / "pi3") as third,
    ):
        for host in (first, second, third):
            host.wait_for_ssh()
        yield first, second, third


def test_four_lines_lead_from_fresh_hosts_to_a_story(hosts, operator, clone):
    install, init, up, prompt = four_lines()

    def words(line):
        return ("sh", "-c", f"cd {clone} && {line}")

    installed = operator.run_online(*words(install), timeout_s=600)
    assert installed.code == 0, installed
    # The network of the test bed has no way out, so what `up` would fetch is fetched before.
    (operator.home / "get_wheels.py").write_text(GET_WHEELS)
    fetched = operator.run_online(*words(".venv/bin/python ../get_wheels.py"), timeout_s=600)
    assert fetched.code == 0, fetched
    for line in (init, up):
        done = operator.run(*words(line), timeout_s=600)
        assert (done.code, done.out) == (0, ""), done
    assert "ready: 3 stages" in done.err
    told = operator.run(*words(prompt), timeout_s=120)
    assert told.code == 0, told
    assert "fox" in told.out

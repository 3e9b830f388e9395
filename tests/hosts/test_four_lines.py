"""The four lines of the README, as they stand there, on three fresh hosts.

A fixture for each line, so that any test may be run alone: ``--durations=0`` tells how long the
third one takes, and the test that it takes again.
"""

import pytest

from tests.hosts.clone import make_clone, printed_lines
from tests.testbed.systemd_host import SystemdHost

GET_WHEELS = """
from pi_cluster.deploy.wheels.wheelhouse import Target, wheelhouse
wheelhouse(Target((3, 11), "x86_64", 36), None)
"""

pytestmark = [pytest.mark.hosts, pytest.mark.thorough, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def lines():
    """To install, to make certificates, to set the hosts up, and to ask."""
    found = printed_lines("README.md", "On three Pis")[0]
    assert len(found) == 4
    return found


@pytest.fixture(scope="module")
def clone(operator):
    """A clone of this repository in the operator's home."""
    return make_clone(operator.home / "pi-cluster")


@pytest.fixture(scope="module")
def in_clone(operator, clone):
    """Runs a line there."""

    def run(line, online=False):
        words = ("sh", "-c", f"cd {clone} && {line}")
        done = (operator.run_online if online else operator.run)(*words, timeout_s=600)
        assert done.code == 0, done
        return done

    return run


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


@pytest.fixture(scope="module")
def installed(lines, in_clone, operator):
    """What the first line says."""
    done = in_clone(lines[0], online=True)
    # The network of the test bed has no way out, so what `up` would fetch is fetched before.
    (operator.home / "get_wheels.py").write_text(GET_WHEELS)
    in_clone(".venv/bin/python ../get_wheels.py", online=True)
    return done


@pytest.fixture(scope="module")
def certified(lines, in_clone, installed):
    """What the second line says."""
    return in_clone(lines[1])


@pytest.fixture(scope="module")
def brought_up(lines, in_clone, certified, hosts):
    """What the third line says."""
    return in_clone(lines[2])


def test_the_first_line_installs_the_program(installed, operator, clone):
    version = operator.run(str(clone / ".venv/bin/pi-cluster"), "--version")
    assert version.code == 0, version


def test_the_second_line_makes_the_certificates(certified):
    assert certified.out == ""


def test_the_third_line_makes_three_fresh_hosts_a_pipeline(brought_up):
    assert brought_up.out == ""
    assert "3 hosts ready, 3 changed" in brought_up.err and "ready: 3 stages" in brought_up.err


def test_the_third_line_again_changes_nothing(lines, in_clone, brought_up):
    again = in_clone(lines[2])
    assert "3 hosts ready, nothing to change" in again.err and "already up" in again.err


def test_the_fourth_line_tells_a_story(lines, in_clone, brought_up):
    assert "fox" in in_clone(lines[3]).out

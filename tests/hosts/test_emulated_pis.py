"""The wheel for the Pi runs on emulated Pis 4 and 5 with Debian 12 and 13, and two of them join a
cluster by tokens and answer as one, with the ids that transformers computed."""

import ast
import json
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.hosts.golden import IDS, PROMPT, golden_ids
from tests.testbed.arm_wheels import build_wheel, install
from tests.testbed.binfmt import aarch64_programs
from tests.testbed.emulated_pi import DEBIAN_12, DEBIAN_13, PI_4, PI_5, PI_CLUSTER, EmulatedPi

ROOT = Path(__file__).parents[2]
SYSTEMS = {system.suite: system for system in (DEBIAN_12, DEBIAN_13)}
PORT = 7711
EMULATED_S = 240.0  # for what this machine does in a second or two

pytestmark = [pytest.mark.hosts, pytest.mark.emulated, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def pi(network, tmp_path_factory):
    """Makes an emulated Pi in a host, with the wheel installed."""
    with aarch64_programs():
        wheel = build_wheel()
        sites = {}

        def make(host, suite, processor):
            if suite not in sites:
                sites[suite] = tmp_path_factory.mktemp(suite)
                install(wheel, SYSTEMS[suite], sites[suite])
            folder = tmp_path_factory.mktemp("pi")
            return EmulatedPi(network, host, folder, SYSTEMS[suite], processor, sites[suite])

        yield make


@pytest.mark.parametrize("suite", SYSTEMS)
@pytest.mark.parametrize(
    ("processor", "variants"),
    [(PI_4, ("neon", "portable")), (PI_5, ("neon-dotprod", "neon", "portable"))],
)
def test_the_wheel_needs_no_compiler_and_takes_the_best_kernels(pi, suite, processor, variants):
    with pi(1, suite, processor) as emulated:
        assert emulated.run("sh", "-c", "command -v cc gcc g++ make cmake").out == ""
        said = emulated.run(
            "python3", "-c", "from pi_cluster import kernels; print(kernels.variants())"
        )
        assert (said.code, said.err) == (0, "")
        assert ast.literal_eval(said.out) == variants


def test_programs_for_the_pi_still_start_when_another_test_bed_is_done_with_them(pi):
    using = "from tests.testbed.binfmt import aarch64_programs\nwith aarch64_programs(): pass"
    subprocess.run([sys.executable, "-c", using], cwd=ROOT, check=True, timeout=60)
    with pi(1, DEBIAN_12.suite, PI_4) as emulated:
        assert emulated.run("uname", "-m").out == "aarch64\n"


def join(node, line):
    """Run on a node what the operator is told to paste there: without systemd, and without mDNS,
    which needs a socket option (IP_MULTICAST_IF) that qemu-user 7.2 does not know."""
    sudo, command, *words = shlex.split(line)
    assert (sudo, command) == ("sudo", "pi-cluster")
    return node.start(*PI_CLUSTER, *words, "--foreground", "--no-mdns")


@pytest.fixture(scope="module")
def pair(pi, operator):
    """A Pi 4 with Debian 12 and a Pi 5 with Debian 13, admitted by tokens: what --nodes names."""
    assert operator.run("pi-cluster", "init").code == 0
    tokens = operator.run("pi-cluster", "token", "create", "--count", "2")
    assert tokens.code == 0, tokens
    with pi(1, DEBIAN_12.suite, PI_4) as first, pi(2, DEBIAN_13.suite, PI_5) as second:
        both = (first, second)
        joining = [join(*each) for each in zip(both, tokens.out.splitlines(), strict=True)]
        for worker in joining:
            assert worker.read_line(EMULATED_S).startswith("joining ")
        nodes = ",".join(f"{node.name}.local:{PORT}" for node in both)
        up = operator.run("pi-cluster", "up", "--nodes", nodes, timeout_s=EMULATED_S)
        assert up.code == 0, up
        for node, worker in zip(both, joining, strict=True):
            assert f"admitted {node.name}" in up.err
            assert worker.read_lines(2, EMULATED_S)[1].startswith("ready ")
        yield nodes


def answer(operator, *words):
    """What a cluster that is brought up by ``up`` with these words says to the demo's prompt."""
    up = operator.run("pi-cluster", "up", *words, timeout_s=EMULATED_S)
    assert up.code == 0, up
    asked = ("--temperature", "0", "--max-tokens", str(IDS), "--json")
    return operator.run("pi-cluster", "prompt", PROMPT, *asked, timeout_s=EMULATED_S).json()


def test_two_emulated_pis_answer_with_the_golden_ids(pair, operator, store):
    said = answer(operator, str(store), "--nodes", pair)
    assert said["ids"] == golden_ids()
    assert [stage["node"] for stage in said["stages"]] == ["pi1", "pi2"]


def test_two_emulated_pis_answer_in_4_bits_as_this_machine_does(pair, operator):
    """Whose integer kernels are others: those of a Pi 4, a Pi 5 and this machine meet here."""
    # What is up is kept by the next `up`; after `down` it is the embedded model, in 4 bits.
    assert operator.run("pi-cluster", "down").code == 0
    here = answer(operator, "--local", "1")
    assert operator.run("pi-cluster", "down").code == 0
    assert answer(operator, "--nodes", pair)["ids"] == here["ids"]


def test_doctor_knows_emulated_pis_by_their_kernels_and_systems(pair, operator):
    told = operator.run("pi-cluster", "doctor", "--json", "--nodes", pair, timeout_s=EMULATED_S)
    report = json.loads(told.out)
    about = [node["about"] for node in report["nodes"]]
    machines = [node["examination"] for node in report["nodes"]]
    assert [one["kernels"] for one in about] == ["neon", "neon-dotprod"]
    assert all(one["certificate_expires_unix_s"] > time.time() for one in about)
    assert [one["architecture"] for one in machines] == ["aarch64", "aarch64"]
    assert [one["wheel"] for one in machines] == ["py3-none-linux_aarch64"] * 2
    assert [one["python"].rpartition(".")[0] for one in machines] == ["3.11", "3.13"]
    found = [finding["what"] for finding in report["findings"]]
    assert "the nodes use different kernels (neon, neon-dotprod)" in found

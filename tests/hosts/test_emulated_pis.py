"""The wheel for the Pi runs on emulated Pis 4 and 5 with Debian 12 and 13, and two of them answer
as one, with the ids that transformers computed."""

import ast
import json
from pathlib import Path

import pytest

import storyteller
from tests.stores import shard
from tests.testbed.arm_wheels import build_wheel, install
from tests.testbed.binfmt import aarch64_programs
from tests.testbed.emulated_pi import DEBIAN_12, DEBIAN_13, PI_4, PI_5, EmulatedPi

GOLDENS = Path(__file__).parents[1] / "parity" / "goldens" / "storyteller.json"
PROMPT = "Tell me a story about a brave fox and a lost kite."
SYSTEMS = {system.suite: system for system in (DEBIAN_12, DEBIAN_13)}
IDS = 24
PORT = 7711
WORKER = ("python3", "-m", "worker", "--no-mdns", "--data-dir", "/root/worker")

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
        said = emulated.run("python3", "-c", "import kernels; print(kernels.variants())")
        assert (said.code, said.err) == (0, "")
        assert ast.literal_eval(said.out) == variants


@pytest.fixture(scope="module")
def pair(pi):
    """Workers on a Pi 4 with Debian 12 and a Pi 5 with Debian 13: what ``--nodes`` names."""
    with pi(1, DEBIAN_12.suite, PI_4) as first, pi(2, DEBIAN_13.suite, PI_5) as second:
        both = (first, second)
        workers = [node.start(*WORKER, "--listen", f"{node.address}:{PORT}") for node in both]
        for worker in workers:
            assert worker.read_line().startswith("ready ")
        yield ",".join(f"{node.name}.local:{PORT}" for node in both)


def answer(operator, *words):
    """What a cluster that is brought up by ``up`` with these words says to the demo's prompt."""
    up = operator.run("pi-cluster", "up", *words, timeout_s=300)
    assert up.code == 0, up
    asked = ("--temperature", "0", "--max-tokens", str(IDS), "--json")
    return operator.run("pi-cluster", "prompt", PROMPT, *asked, timeout_s=300).json()


def test_two_emulated_pis_answer_with_the_golden_ids(pair, operator, tmp_path):
    """The weights as they were trained, as they were when transformers computed the ids."""
    store = tmp_path / "store"
    shard(storyteller.checkpoint_path(), store, "f32")
    golden = next(case for case in json.loads(GOLDENS.read_text()) if PROMPT in case["prompt"])
    said = answer(operator, str(store), "--nodes", pair)
    assert said["ids"] == golden["greedy_ids"][:IDS]
    assert [stage["node"] for stage in said["stages"]] == ["pi1", "pi2"]


def test_two_emulated_pis_answer_in_4_bits_as_this_machine_does(pair, operator):
    """Whose integer kernels are others: those of a Pi 4, a Pi 5 and this machine meet here."""
    here = answer(operator, "--local", "1")
    assert operator.run("pi-cluster", "down").code == 0
    assert answer(operator, "--nodes", pair)["ids"] == here["ids"]

"""Cables that come out in the middle of an answer: it goes on, or says whom it has lost."""

import json
import subprocess
from contextlib import ExitStack

import pytest

from tests.support.cluster_process import Outcome, eventually
from tests.support.networks import needs_network
from tests.testbed.network.network import Network

PATIENCE_S = 40.0
NOWHERE = "02:00:00:00:00:99"


pytestmark = [needs_network, pytest.mark.networks]


class Home:
    """A pipeline over three hosts, asked from host 0."""

    def __init__(self, network, cluster):
        self.network = network
        self._cluster = cluster
        addresses = [self._start_worker(host) for host in (1, 2, 3)]
        up = self.run("up", "--nodes", ",".join(addresses), "--insecure")
        assert up.code == 0, up

    def run(self, *words):
        """Run a command to its end in host 0."""
        command = self._inside(0, *self._cluster.words(*words))
        done = subprocess.run(command, env=self._cluster.env, capture_output=True, timeout=60)
        return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())

    def start(self, *words):
        """Begin a command in host 0."""
        return self._cluster.start_program(self._inside(0, *self._cluster.words(*words)))

    def neighbour(self, host, *words):
        """Change what a host believes of another one's network card."""
        subprocess.run(self._inside(host, "ip", "neigh", *words, "dev", "eth0"), check=True)

    def is_free(self):
        """Whether no node holds anything of a session."""
        stages = json.loads(self.run("status", "--json").out)["stages"]
        return all(s["state"] == "ready" and not s["sequences"] for s in stages)

    def _start_worker(self, host):
        where = ("--listen", f"{self.network.address(host)}:0", "--insecure", "--no-mdns")
        who = ("--name", f"pi{host}", "--data-dir", str(self._cluster.folder / f"pi{host}"))
        words = self._cluster.words("worker", *where, *who)
        running = self._cluster.start_program(self._inside(host, *words))
        return running.read_line().split()[1]

    def _inside(self, host, *words):
        return ["nsenter", f"--net={self.network.namespace(host)}", "--", *words]


@pytest.fixture(scope="module")
def home(make_cluster):
    with ExitStack() as stack:
        network = stack.enter_context(Network(4, "gbe"))
        yield Home(network, stack.enter_context(make_cluster()))


@pytest.fixture(scope="module")
def asked(endless):
    """A question whose answer takes a few seconds, since nothing of it is guessed."""
    return ("prompt", *endless, "--max-tokens", "600", "--draft", "off")


@pytest.fixture(scope="module")
def undisturbed(home, asked):
    """What it prints when nothing happens."""
    outcome = home.run(*asked)
    assert outcome.code == 0, outcome
    return outcome.out


def says(running, words):
    return eventually(lambda: running.error_text, lambda text: words in text, PATIENCE_S)


def error_of(outcome):
    """The line that tells the error; what to do follows it."""
    assert outcome.code == 1, outcome
    return next(line for line in outcome.err.splitlines() if line.startswith("error: "))


@pytest.mark.parametrize(
    ("host", "told", "back"),
    [
        (2, "pi2 (10.77.0.12:", "pi2 answers again"),
        (0, "none of the 3 nodes (pi1, pi2, pi3) has answered", "the nodes answer again"),
    ],
)
def test_an_answer_goes_on_when_a_cable_is_plugged_in_again(
    home, asked, undisturbed, host, told, back
):
    running = home.start(*asked)
    running.read(20)
    home.network.unplug(host)
    says(running, told)
    home.network.plug(host)
    says(running, back)
    outcome = running.end()
    assert (outcome.code, outcome.out) == (0, undisturbed)


def test_a_node_whose_cable_stays_out_is_named_and_the_others_are_free(home, asked):
    running = home.start(*asked)
    running.read(20)
    home.network.unplug(2)
    outcome = running.end()
    error = error_of(outcome)
    assert error.startswith("error: pi2 (10.77.0.12:") and "run `pi-cluster up" in outcome.err
    assert not any(name in error for name in ("pi1", "pi3"))
    home.network.plug(2)
    eventually(home.is_free, bool, PATIENCE_S)


def test_a_coordinator_whose_cable_stays_out_blames_no_node_and_leaves_them_free(home, asked):
    running = home.start(*asked)
    running.read(20)
    home.network.unplug(0)
    outcome = running.end()
    assert "this computer's network" in error_of(outcome)
    home.network.plug(0)
    eventually(home.is_free, bool, PATIENCE_S)


def test_two_nodes_that_lose_each_other_alone_are_both_named(home, asked, undisturbed):
    running = home.start(*asked)
    running.read(20)
    home.neighbour(1, "replace", home.network.address(2), "lladdr", NOWHERE, "nud", "permanent")
    told = says(running, "pi1 (10.77.0.11:")
    home.neighbour(1, "del", home.network.address(2))
    outcome = running.end()
    assert "has not reached pi2 (10.77.0.12:" in told
    assert (outcome.code, outcome.out) == (0, undisturbed)

"""Cables that come out in the middle of an answer: it goes on, and says whom it has lost."""

import json
import re
import subprocess
from contextlib import contextmanager

import pytest

from tests.support.cluster_process import Outcome, eventually
from tests.support.networks import needs_network
from tests.testbed.network.network import Network

PATIENCE_S = 40.0
NOWHERE = "02:00:00:00:00:99"
ALL = ["pi1", "pi2", "pi3"]
# Bytes of memory in which some of the layers have room when each keeps so many texts, and not all.
TOO_LITTLE, MANY_TEXTS = str(300 << 20), "64"


pytestmark = [needs_network, pytest.mark.networks]


class Home:
    """A pipeline over some hosts, asked from host 0."""

    def __init__(self, network, cluster):
        self.network = network
        self._cluster = cluster
        self._addresses = []

    def start_worker(self, host, *words):
        """Begin a host's worker."""
        where = ("--listen", f"{self.network.address(host)}:0", "--insecure", "--no-mdns")
        who = ("--name", f"pi{host}", "--data-dir", str(self._cluster.folder / f"pi{host}"))
        command = self._cluster.words("worker", *where, *who, *words)
        running = self._cluster.start_program(self._inside(host, *command))
        self._addresses.append(running.read_line().split()[1])

    def up(self, *words):
        """Bring the pipeline up over whoever of the hosts is there."""
        outcome = self.run("up", "--nodes", ",".join(self._addresses), "--insecure", *words)
        assert outcome.code == 0, outcome

    def run(self, *words):
        """Run a command to its end in host 0."""
        command = self._inside(0, *self._cluster.words(*words))
        done = subprocess.run(command, env=self._cluster.env, capture_output=True, timeout=60)
        return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())

    @contextmanager
    def asking(self, *words):
        """A question in host 0 whose answer has begun."""
        running = self._cluster.start_program(self._inside(0, *self._cluster.words(*words)))
        running.read(20)
        try:
            yield running
        finally:
            running.stop()

    @contextmanager
    def unplugged(self, host):
        """The host's cable is out."""
        self.network.unplug(host)
        try:
            yield
        finally:
            self.network.plug(host)

    @contextmanager
    def apart(self, one, other):
        """One host sends what is for the other to nowhere; all else passes."""
        address = self.network.address(other)
        self._neighbour(one, "replace", address, "lladdr", NOWHERE, "nud", "permanent")
        try:
            yield
        finally:
            self._neighbour(one, "del", address)

    def names(self):
        """Who has a stage."""
        return [one.name for one in self._cluster.record().addresses]

    def is_free(self):
        """Whether no node holds anything of a session."""
        stages = json.loads(self.run("status", "--json").out)["stages"]
        return all(s["state"] == "ready" and not s["sequences"] for s in stages)

    def _neighbour(self, host, *words):
        """Change what a host believes of another one's network card."""
        subprocess.run(self._inside(host, "ip", "neigh", *words, "dev", "eth0"), check=True)

    def _inside(self, host, *words):
        return ["nsenter", f"--net={self.network.namespace(host)}", "--", *words]


@pytest.fixture(scope="module")
def network():
    with Network(4, "gbe") as made:
        yield made


@pytest.fixture(scope="module")
def three_hosts(network, make_cluster):
    with make_cluster() as cluster:
        made = Home(network, cluster)
        for host in (1, 2, 3):
            made.start_worker(host)
        yield made


@pytest.fixture
def home(three_hosts):
    """Three nodes, all of which have a stage."""
    three_hosts.up()
    assert three_hosts.names() == ALL
    return three_hosts


@pytest.fixture(scope="module")
def full_hosts(network, make_cluster):
    with make_cluster() as cluster:
        made = Home(network, cluster)
        made.start_worker(1, "--memory", TOO_LITTLE)
        made.start_worker(2)
        yield made


@pytest.fixture
def full_home(full_hosts):
    """Two nodes, the first of which has no room for the layers of the second."""
    full_hosts.up("--texts", MANY_TEXTS)
    assert full_hosts.names() == ["pi1", "pi2"]
    return full_hosts


@pytest.fixture(scope="module")
def asked(endless):
    """A question whose answer takes a few seconds, since nothing of it is guessed."""
    return ("prompt", *endless, "--max-tokens", "600", "--draft", "off")


@pytest.fixture(scope="module")
def undisturbed(three_hosts, asked):
    """What it prints when nothing happens."""
    three_hosts.up()
    outcome = three_hosts.run(*asked)
    assert outcome.code == 0, outcome
    return outcome.out


def says(running, words):
    return eventually(lambda: running.error_text, lambda text: words in text, PATIENCE_S)


def error_of(outcome):
    """The line that tells the error; what to do follows it."""
    assert outcome.code == 1, outcome
    return next(line for line in outcome.err.splitlines() if line.startswith("error: "))


def assert_ended(outcome, undisturbed, trouble):
    """The whole answer came, and one line tells what the trouble was and how it ended."""
    assert (outcome.code, outcome.out) == (0, undisturbed), outcome.err
    (line,) = [one for one in outcome.err.splitlines() if "going on" in one]
    assert re.fullmatch(trouble + r" after [\d.]+ s", line), outcome.err


@pytest.mark.parametrize(
    ("host", "told", "back"),
    [
        (2, "pi2 (10.77.0.12:", "pi2 answers again"),
        (0, "none of the 3 nodes (pi1, pi2, pi3) has answered", "the nodes answer again"),
    ],
)
def test_an_answer_goes_on_when_a_cable_is_plugged_in_again(
    undisturbed, home, asked, host, told, back
):
    with home.asking(*asked) as running:
        with home.unplugged(host):
            says(running, told)
        says(running, back)
        outcome = running.end(PATIENCE_S)
    assert (outcome.code, outcome.out) == (0, undisturbed)
    assert home.names() == ALL


def test_an_answer_goes_on_over_the_others_when_a_cable_stays_out_until_up(
    undisturbed, home, asked
):
    with home.asking(*asked) as running, home.unplugged(2):
        outcome = running.end(PATIENCE_S)
        assert_ended(outcome, undisturbed, "pi2 stopped answering; going on with pi1 and pi3")
        assert home.names() == ["pi1", "pi3"]
    home.up()
    assert home.names() == ALL
    assert home.run(*asked).out == undisturbed


def test_a_node_whose_cable_stays_out_is_waited_for_where_nobody_has_room(
    undisturbed, full_home, asked
):
    with full_home.asking(*asked) as running:
        with full_home.unplugged(2):
            says(
                running,
                "pi2 stopped answering, and the others have no room for its layers: waiting up to "
                "600 s for it",
            )
        outcome = running.end(PATIENCE_S)
    assert_ended(outcome, undisturbed, "pi2 stopped answering; it is back, going on")
    assert full_home.names() == ["pi1", "pi2"]


@pytest.mark.parametrize(
    ("within", "told"),
    [("0", ""), ("3", "pi2 stopped answering, and 3 s have passed in vain: ")],
)
def test_a_node_that_is_not_back_in_time_is_named_and_the_others_are_free(
    full_home, asked, within, told
):
    with full_home.asking(*asked, "--heal-timeout", within) as running, full_home.unplugged(2):
        outcome = running.end(PATIENCE_S)
    error = error_of(outcome)
    assert error.startswith(f"error: {told}pi2 (10.77.0.12:") and "pi1" not in error
    assert "run `pi-cluster up" in outcome.err and "going on" not in outcome.err
    eventually(full_home.is_free, bool, PATIENCE_S)


def test_a_coordinator_whose_cable_is_out_for_long_says_so_and_goes_on(undisturbed, home, asked):
    with home.asking(*asked) as running:
        with home.unplugged(0):
            says(
                running,
                "all 3 nodes fell silent, and no other node answers: waiting up to 600 s for pi1, "
                "pi2 and pi3; see whether this computer's network is up, and theirs",
            )
        outcome = running.end(PATIENCE_S)
    assert_ended(outcome, undisturbed, "all 3 nodes fell silent; going on")
    assert "room" not in outcome.err
    assert home.names() == ALL


@pytest.mark.parametrize(
    ("within", "told"), [("0", ""), ("3", "all 3 nodes fell silent, and 3 s have passed in vain: ")]
)
def test_a_coordinator_whose_cable_stays_out_blames_no_node_and_leaves_them_free(
    home, asked, within, told
):
    with home.asking(*asked, "--heal-timeout", within) as running, home.unplugged(0):
        outcome = running.end(PATIENCE_S)
    error = error_of(outcome)
    assert error.startswith(f"error: {told}none of the 3 nodes (pi1, pi2, pi3) has answered for ")
    assert "see whether this computer's network is up" in error
    eventually(home.is_free, bool, PATIENCE_S)


def test_two_nodes_that_lose_each_other_alone_are_both_named(undisturbed, home, asked):
    with home.asking(*asked) as running:
        with home.apart(1, 2):
            told = says(running, "pi1 (10.77.0.11:")
        outcome = running.end(PATIENCE_S)
    assert "has not reached pi2 (10.77.0.12:" in told
    assert (outcome.code, outcome.out) == (0, undisturbed)
    assert home.names() == ALL


def test_an_answer_goes_on_without_the_second_of_two_nodes_that_stay_apart(
    undisturbed, home, asked
):
    with home.asking(*asked) as running, home.apart(1, 2):
        outcome = running.end(PATIENCE_S)
        assert_ended(outcome, undisturbed, "pi1 and pi2 lost each other; going on with pi1 and pi3")
        assert "stopped answering" not in outcome.err
        assert home.names() == ["pi1", "pi3"]

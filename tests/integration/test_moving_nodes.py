"""Nodes with certificates that get other addresses, lose a cable, or are kept from view."""

import re
import sys
from contextlib import contextmanager

import pytest

from tests.support.cluster_process import Cluster, eventually
from tests.support.namespaces import Switch, impossible

pytestmark = [
    pytest.mark.skipif(bool(impossible()), reason=impossible()),
    pytest.mark.networks,
]

ASKED = ("--ids", "1,3,558,355,4", "--temperature", "0", "--max-tokens", "8", "--json")
PATIENCE_S = 60.0
# Says again and again, in the name of a node, that it leaves and that it is somewhere else.
LIE = """
import ipaddress, socket, sys, time
from zeroconf import DNSOutgoing, ServiceInfo
from zeroconf.const import _FLAGS_AA, _FLAGS_QR_RESPONSE
from pi_cluster.cluster.discovery.mdns import SERVICE_TYPE
cluster, us, *node_ids = sys.argv[1:]
crowd = 0
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
    out.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(us))
    print("lying", flush=True)
    while True:
        for node_id in node_ids:
            info = ServiceInfo(
                SERVICE_TYPE, f"{node_id}.{SERVICE_TYPE}", port=7711, server=f"{node_id}.local.",
                addresses=[ipaddress.ip_address(us).packed], properties={"cluster": cluster},
            )
            pointers = [info.dns_pointer(), info.dns_pointer(override_ttl=0)]
            for pointer in pointers[: 1 if crowd else 2]:
                packet = DNSOutgoing(_FLAGS_QR_RESPONSE | _FLAGS_AA)
                for record in (pointer, info.dns_service(), info.dns_text(), *info.dns_addresses()):
                    packet.add_answer_at_time(record, 0)
                out.sendto(packet.packets()[0], ("224.0.0.251", 5353))
        if not sys.argv[4:]:  # of one node it is told that there are ever more
            crowd += 1
            node_ids = [f"{sys.argv[3]}{crowd:x}x{one}" for one in range(20)]
        time.sleep(0.02)
"""


class OperatorsCluster(Cluster):
    """A cluster whose commands run on one computer."""

    def __init__(self, computer, folder, cache):
        super().__init__(folder, cache)
        self.computer = computer

    def words(self, *words):
        return self.computer.words(*super().words(*words))

    def ids(self):
        """What the pipeline answers."""
        return self.run("prompt", *ASKED, timeout_s=PATIENCE_S).json()["ids"]


class Pi:
    """A computer with a node on it."""

    def __init__(self, home, computer, name):
        self.home, self.computer, self.name = home, computer, name
        self.data_dir = home.folder / name
        self.node_id, self.running = "", None

    def start(self, *words):
        command = ("--data-dir", str(self.data_dir), "--name", self.name, "--listen", "0.0.0.0")
        named = Cluster.words(self.home, *words, *command, "--threads", "1")
        self.running = self.computer.start(*named, env=self.home.env)
        self.node_id = self.running.read_line().split()[2]

    def ip(self, *words):
        self.computer.ip(*words)


@pytest.fixture(scope="module")
def switch(tmp_path_factory):
    with Switch(tmp_path_factory.mktemp("switch")) as made:
        yield made


@contextmanager
def home_of(computers, folder, cache):
    """An operator's cluster, and nodes on the other computers that have joined and answer."""
    operator, *others = computers
    with OperatorsCluster(operator, folder, cache) as made:
        assert made.run("init").code == 0
        out = made.run("token", "create", "--count", str(len(others))).out
        made.pis = [Pi(made, one, f"pi{number}") for number, one in enumerate(others, 1)]
        for pi, token in zip(made.pis, re.findall(r"join (\S+)", out), strict=True):
            pi.start("join", token, "--foreground")
        first = made.run("up", timeout_s=PATIENCE_S)
        assert first.code == 0 and f"{len(others)} stages" in first.err, first
        yield made


@pytest.fixture(scope="module")
def home(switch, tmp_path_factory, integration_folder):
    """An operator, and two nodes that have joined: pi1 with a cable, pi2 with cable and Wi-Fi."""
    wiring = {"operator": 1, "pi1": 1, "pi2": 2, "somebody": 1}
    computers = [
        switch.computer(name, *("eth0", "wlan0")[:count]) for name, count in wiring.items()
    ]
    for number, computer in enumerate(computers, 1):
        computer.sysctl("net.ipv6.conf.all.disable_ipv6=1")
        computer.ip("addr", "add", f"10.9.0.{number}/24", "dev", "eth0")
    *cluster, somebody = computers
    cluster[2].ip("addr", "add", "10.9.0.103/24", "dev", "wlan0")
    # Each interface of pi2 answers for its own address alone, as if its radio were elsewhere.
    cluster[2].sysctl("net.ipv4.conf.all.arp_ignore=1")
    with home_of(cluster, tmp_path_factory.mktemp("home"), integration_folder / "cache") as made:
        made.somebody = somebody
        yield made


@pytest.fixture
def cluster(home):
    """The cluster, up on both nodes."""
    outcome = home.run("up", timeout_s=PATIENCE_S)
    assert outcome.code == 0 and "going on without" not in outcome.err, outcome
    return home


def stages(cluster):
    outcome = cluster.run("status", "--json", timeout_s=PATIENCE_S)
    return outcome.code, re.findall(r'"node": "(\w+)"', outcome.out)


def test_a_node_whose_cable_comes_out_is_reached_by_its_radio(cluster):
    before = cluster.ids()
    pi2 = cluster.pis[1]
    record = (cluster.folder / "state/pi-cluster" / cluster.name / "pipeline.json").read_text()
    assert '"10.9.0.3:7711"' in record, "the cable comes first"
    pi2.ip("link", "set", "eth0", "down")
    try:
        assert cluster.ids() == before
        assert stages(cluster)[0] == 0
    finally:
        pi2.ip("link", "set", "eth0", "up")


def test_a_node_that_gets_another_address_is_found_by_prompt_and_status(cluster):
    before = cluster.ids()
    for pi, address in zip(cluster.pis, ("10.9.0.22", "10.9.0.33"), strict=True):
        pi.ip("addr", "flush", "dev", "eth0")
        pi.ip("addr", "add", f"{address}/24", "dev", "eth0")
    cluster.pis[1].ip("addr", "flush", "dev", "wlan0")
    assert eventually(cluster_answers(cluster), lambda ids: ids is not None, PATIENCE_S) == before
    assert stages(cluster)[0] == 0
    # The next `up` tells the nodes of each other, and moves nothing.
    up = cluster.run("up", timeout_s=PATIENCE_S)
    assert up.code == 0 and "ready: 2 stages, 0 B moved" in up.err, up
    assert "10.9.0.33" in up.err
    assert cluster.ids() == before


def cluster_answers(cluster):
    def ask():
        outcome = cluster.run("prompt", *ASKED, timeout_s=PATIENCE_S)
        return outcome.json()["ids"] if outcome.code == 0 else None

    return ask


def test_goodbyes_and_wrong_addresses_in_the_name_of_nodes_do_not_shrink_a_plan(cluster):
    ids = [pi.node_id for pi in cluster.pis]
    lying = cluster.somebody.start(sys.executable, "-c", LIE, cluster.name, "10.9.0.4", *ids)
    try:
        assert lying.read_line() == "lying"
        for _ in range(2):
            outcome = cluster.run("up", timeout_s=PATIENCE_S)
            assert outcome.code == 0 and "already up" in outcome.err, outcome
            assert "going on without" not in outcome.err
        assert lying.process.poll() is None, lying.error_text
    finally:
        lying.stop()


def test_thousands_of_announced_nodes_do_not_crowd_out_those_that_are_known(cluster):
    lying = cluster.somebody.start(sys.executable, "-c", LIE, cluster.name, "10.9.0.4", "nobody")
    try:
        assert lying.read_line() == "lying"
        outcome = cluster.run("up", timeout_s=PATIENCE_S)
        assert outcome.code == 0 and "already up" in outcome.err, outcome
        assert "somebody floods this network" in outcome.err
        assert len(outcome.err.splitlines()) < 60
        assert lying.process.poll() is None, lying.error_text
    finally:
        lying.stop()


def test_up_names_a_node_that_is_not_there_and_a_plan_too(cluster):
    pi2 = cluster.pis[1]
    pi2.running.stop()
    try:
        for command in ("plan", "up", "up"):
            outcome = cluster.run(command, timeout_s=PATIENCE_S)
            assert outcome.code == 0, outcome
            (line,) = [one for one in outcome.err.splitlines() if "not found" in one]
            for words in ("pi2", "does not answer", "going on without it", "node revoke pi2"):
                assert words in line, outcome.err
        assert stages(cluster) == (0, ["pi1"])
        found = cluster.run("doctor", timeout_s=PATIENCE_S)
        assert "problem: pi2: " in found.out, found
    finally:
        pi2.start("worker")
    again = cluster.run("up", timeout_s=PATIENCE_S)
    assert again.code == 0 and "not found" not in again.err and "2 stages" in again.err, again


def test_with_mdns_blocked_nodes_that_were_met_before_are_asked_all_the_same(cluster):
    cluster.computer.ip("link", "set", "eth0", "multicast", "off")
    try:
        outcome = cluster.run("up", timeout_s=PATIENCE_S)
        assert outcome.code == 0 and "already up" in outcome.err, outcome
    finally:
        cluster.computer.ip("link", "set", "eth0", "multicast", "on")


@pytest.fixture
def keeping_to_itself(cluster):
    """The cluster, up on both nodes, of which pi1 neither announces itself nor looks for others."""
    pi1 = cluster.pis[0]
    pi1.running.stop()
    pi1.start("worker", "--no-mdns")
    yield cluster
    pi1.running.stop()
    pi1.start("worker")


def move_pi2(cluster, address):
    """Give it another address, and wait until the operator's computer hears of that."""
    pi2 = cluster.pis[1]
    for interface in ("eth0", "wlan0"):
        pi2.ip("addr", "flush", "dev", interface)
    pi2.ip("addr", "add", f"{address}/24", "dev", "eth0")
    eventually(
        lambda: cluster.computer.listen(cluster.name, 1.5),
        lambda peers: any(peer["address"] == f"{address}:7711" for peer in peers),
        PATIENCE_S,
    )


def test_where_a_stage_cannot_find_the_next_it_is_told_and_the_answer_comes(keeping_to_itself):
    cluster = keeping_to_itself
    before = cluster.ids()
    move_pi2(cluster, "10.9.0.44")
    outcome = cluster.run("prompt", *ASKED, timeout_s=PATIENCE_S)
    assert outcome.json()["ids"] == before
    (line,) = [one for one in outcome.err.splitlines() if "going on" in one]
    said = r"pi2 moved to 10\.9\.0\.44:7711; loaded again, going on after [\d.]+ s"
    assert re.fullmatch(said, line), outcome.err
    assert cluster.ids() == before
    up = cluster.run("up", timeout_s=PATIENCE_S)
    assert up.code == 0 and "already up" in up.err, up


def test_where_a_stage_cannot_find_the_next_the_error_says_up_and_that_works(keeping_to_itself):
    cluster = keeping_to_itself
    before = cluster.ids()
    move_pi2(cluster, "10.9.0.55")
    outcome = cluster.run("prompt", *ASKED, "--heal-timeout", "0", timeout_s=PATIENCE_S)
    assert outcome.code == 1, outcome
    for words in ("pi2 was at", "is at 10.9.0.55:7711 now", "run `pi-cluster up"):
        assert words in outcome.err, outcome
    up = cluster.run("up", timeout_s=PATIENCE_S)
    assert up.code == 0 and "ready: 2 stages, 0 B moved" in up.err, up
    assert cluster.ids() == before


@pytest.mark.parametrize("network", ["", "fd00:9::"])
def test_a_pipeline_on_a_network_of_ipv6_alone_comes_up_and_answers(
    tmp_path, integration_folder, network
):
    """By link-local addresses, whose names of interfaces mean nothing to others, or unique ones."""
    with Switch(tmp_path) as switch:
        computers = [switch.computer(name, "eth0") for name in ("operator", "pi1", "pi2")]
        for number, computer in enumerate(computers, 1):
            if network:
                computer.ip("addr", "add", f"{network}{number}/64", "dev", "eth0")
        with home_of(computers, tmp_path, integration_folder / "cache") as cluster:
            assert len(cluster.ids()) == 8
            found = cluster.run("doctor", timeout_s=PATIENCE_S).out
            assert (network or "fe80::") in found
            assert "IGMP" not in found and "cannot connect" not in found, found

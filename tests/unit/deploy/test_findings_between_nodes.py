"""What only shows when nodes, and the machine of the operator, are compared."""

import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from pi_cluster.cluster.errors import NodeLost
from pi_cluster.cluster.shown import shown_text
from pi_cluster.cluster.wire.peer import Peer
from pi_cluster.deploy.doctor.facts import ClusterFacts, Examined, Silent
from pi_cluster.deploy.doctor.findings import THIS_MACHINE, Severity
from pi_cluster.deploy.doctor.judgement import judge
from pi_cluster.deploy.doctor.table import FactTables, findings_text
from pi_cluster.deploy.screen.console import HarmlessConsole
from pi_cluster.protos import pi_cluster_pb2 as pb
from tests.support.facts import NAMES, a_cluster, a_node, address_of, an_operator, with_first
from tests.support.hostile import steering

PROBLEM, WARNING, NOTE = Severity


def only(facts, severity, *words, node):
    findings = judge(facts)
    assert [(f.severity, f.nodes) for f in findings] == [(severity, (node,))], findings
    for word in words:
        assert word in f"{findings[0].what} -> {findings[0].to_do}", findings
    return True


def test_clock_offsets_are_a_warning_beyond_2_seconds_and_a_problem_beyond_5_minutes():
    assert judge(with_first(clock_offset_s=2.0)) == []
    facts = with_first(clock_offset_s=2.1)
    assert only(facts, WARNING, "2.1 s ahead of this machine's", "timedatectl", node="pi1")
    assert only(with_first(clock_offset_s=-300.0), WARNING, "5 minutes behind", node="pi1")
    facts = with_first(clock_offset_s=-300.1)
    assert only(facts, PROBLEM, "certificates and tokens are refused", node="pi1")
    facts = with_first(clock_offset_s=-3 * 86_400.0)
    assert only(facts, PROBLEM, "3 days behind", node="pi1")


def test_when_all_nodes_agree_it_is_the_clock_of_this_machine():
    nodes = [a_node(name, clock_offset_s=400.0 + 0.5 * i) for i, name in enumerate(NAMES)]
    assert only(a_cluster(*nodes), PROBLEM, "7 minutes behind those of all", node=THIS_MACHINE)
    nodes = [a_node(name, clock_offset_s=400.0 + 3 * i) for i, name in enumerate(NAMES)]
    assert {finding.nodes for finding in judge(a_cluster(*nodes))} == {("pi1", "pi2", "pi3")}


def cannot_reach(node, target):
    """The node's attempt to connect to the target fails."""
    for reached in node.examination.reached:
        if reached.address == address_of(target):
            reached.error = "no answer: the machine is off, or a firewall drops the connection"
    return node


def test_a_node_that_others_cannot_connect_to_is_a_problem_with_the_firewall_named():
    nodes = [a_node("pi1"), cannot_reach(a_node("pi2"), "pi1"), a_node("pi3")]
    facts = a_cluster(*nodes)
    assert only(facts, PROBLEM, "pi2 cannot connect", "ufw allow 7711/tcp", node="pi1")
    nodes[2] = cannot_reach(nodes[2], "pi1")
    assert only(a_cluster(*nodes), PROBLEM, "pi2 and 1 more cannot connect", node="pi1")


def test_a_node_on_loopback_is_a_problem_only_when_there_are_other_machines():
    alone = Peer("127.0.0.1:7711", "id-of-pi1", "pi1")
    facts = with_first(peer=alone)
    assert only(facts, PROBLEM, "127.0.0.1:7711", "--listen 0.0.0.0", node="pi1")
    both = [
        a_node(name, peer=Peer(f"127.0.0.1:{port}", f"id-of-{name}", name), machine_id="one")
        for name, port in (("pi1", 1), ("pi2", 2))
    ]
    assert judge(a_cluster(*both)) == []


def test_versions_that_differ_are_a_warning():
    facts = with_first(version="0.9")
    assert only(facts, WARNING, "0.9", "this machine 1.0", "--hosts", node="pi1")


def test_a_node_of_another_cluster_is_a_problem():
    assert only(with_first(cluster="work"), PROBLEM, "'work'", "--cluster work", node="pi1")


def test_mixed_kernels_are_noted_as_fine():
    pi_4 = a_node("pi1", kernels="neon", model="Raspberry Pi 4 Model B Rev 1.4")
    facts = a_cluster(pi_4, a_node("pi2"))
    assert only(facts, NOTE, "neon, neon-dotprod", "the same bits", node=THIS_MACHINE)


def test_a_node_far_slower_than_its_twin_is_a_warning():
    def measured(rate, **changes):
        return with_first(speed=pb.NodeSpeed(read_bytes_ps=rate), **changes)

    assert only(measured(0.74 * 11e9), WARNING, "8.1 GB/s", "11.0", "node.json", node="pi1")
    assert judge(measured(0.76 * 11e9)) == []
    assert judge(measured(0.0)) == []  # never measured
    assert only(measured(1e9, model="Raspberry Pi 5 Model B Rev 2.0"), WARNING, node="pi1")
    assert judge(measured(1e9, model="Raspberry Pi 500 Rev 1.0")) == []  # no twin
    assert judge(measured(1e9, threads=1)) == []
    alone = [a_node(name, machine_id="one") for name in NAMES]
    alone[0].about.speed.read_bytes_ps = 1e9
    assert judge(a_cluster(*alone)) == []  # workers of one machine


def deaf(node):
    del node.examination.heard[:]
    return node


def unheard(nodes, name):
    for node in nodes:
        heard = [other for other in node.examination.heard if other != f"id-of-{name}"]
        del node.examination.heard[:]
        node.examination.heard.extend(heard)
    return nodes


def test_a_node_that_hears_nobody_while_others_do_is_a_warning():
    facts = a_cluster(deaf(a_node("pi1")), a_node("pi2"), a_node("pi3"))
    assert only(facts, WARNING, "hears none of the 2", "5353/udp", "IGMP", node="pi1")


def test_a_node_that_nobody_hears_while_others_are_heard_is_a_warning():
    nodes = unheard([a_node(name) for name in NAMES], "pi1")
    facts = a_cluster(*nodes, operator=an_operator(heard=("id-of-pi2", "id-of-pi3")))
    assert only(facts, WARNING, "no other machine hears it", "--no-mdns", node="pi1")


def test_a_network_without_multicast_is_one_warning():
    nodes = [deaf(a_node(name)) for name in NAMES]
    facts = a_cluster(*nodes, operator=an_operator(heard=()))
    assert only(facts, WARNING, "IGMP snooping", "isolation", "--nodes", node=THIS_MACHINE)
    assert judge(a_cluster(deaf(a_node("pi1")), operator=an_operator(heard=()))) == []


def test_an_operator_who_hears_none_of_the_nodes_is_a_warning():
    facts = a_cluster(operator=an_operator(heard=()))
    assert only(facts, WARNING, "not heard from here", "5353/udp", node=THIS_MACHINE)


def test_mdns_that_cannot_be_used_here_is_a_warning():
    facts = a_cluster(operator=an_operator(heard=(), mdns_error="address in use"))
    assert only(facts, WARNING, "address in use", "--nodes", node=THIS_MACHINE)


def test_keys_that_others_may_open_are_a_problem(tmp_path):
    key = tmp_path / "operator.key"
    key.touch()
    facts = a_cluster(operator=an_operator(exposed_keys=(key,)))
    assert only(facts, PROBLEM, f"chmod 600 {key}", node=THIS_MACHINE)
    facts = a_cluster(operator=an_operator(exposed_keys=(tmp_path,)))
    assert only(facts, PROBLEM, f"chmod 700 {tmp_path}", node=THIS_MACHINE)


def test_no_ssh_here_is_noted():
    assert only(a_cluster(operator=an_operator(ssh="")), NOTE, "openssh", node=THIS_MACHINE)


@pytest.mark.parametrize(
    ("free", "severity"),
    [((200 << 20) - 1, PROBLEM), (200 << 20, WARNING), ((1 << 30) - 1, WARNING)],
)
def test_little_room_here_is_said(free, severity):
    facts = a_cluster(operator=an_operator(free_disk_bytes=free))
    assert only(facts, severity, "/home", node=THIS_MACHINE)
    assert judge(a_cluster(operator=an_operator(free_disk_bytes=1 << 30))) == []


def test_no_node_at_all_is_a_problem():
    facts = ClusterFacts("home", an_operator(), (), (), None, "", 0.0)
    assert only(facts, PROBLEM, "'home'", "--nodes", node=THIS_MACHINE)


def test_a_record_that_cannot_be_read_is_a_problem():
    assert only(a_cluster(record_error="it is torn"), PROBLEM, "torn", node=THIS_MACHINE)


NUMBERS = {
    "uint32": st.integers(0, 2**32 - 1),
    "uint64": st.integers(0, 2**64 - 1),
    "double": st.floats(allow_nan=True, allow_infinity=True),
    "bool": st.booleans(),
    "string": st.text(max_size=12) | st.sampled_from(["Debian GNU/Linux 9", "aarch64", "3.9", "-"]),
}
KINDS = {13: "uint32", 4: "uint64", 1: "double", 8: "bool", 9: "string"}  # FieldDescriptor.type


@st.composite
def messages(draw, kind):
    """Any message at all of a type, as a stranger could send it."""
    message = kind()
    for field in kind.DESCRIPTOR.fields:
        if not draw(st.booleans()):
            continue
        if field.message_type is not None:
            parts = messages(getattr(pb, field.message_type.name))
        else:
            parts = NUMBERS[KINDS[field.type]]
        if field.is_repeated:
            getattr(message, field.name).extend(draw(st.lists(parts, max_size=3)))
        elif field.message_type is not None:
            getattr(message, field.name).CopyFrom(draw(parts))
        else:
            setattr(message, field.name, draw(parts))
    return message


addresses = st.sampled_from(["127.0.0.1:1", "[::1]:2", "pi1.local:7711", "192.168.1.10:7711"])
examined = st.builds(
    Examined,
    peer=st.builds(Peer, addresses, st.text(max_size=5), st.text(max_size=5)),
    about=messages(pb.NodeDescription),
    examination=messages(pb.Examination),
    clock_offset_s=st.floats(allow_nan=True),
    recorded=st.sampled_from([None, a_node().recorded]),
)
silent = st.builds(
    Silent,
    peer=st.builds(Peer, addresses),
    error=st.just(NodeLost("gone")),
    connection=st.text(max_size=9) | st.just("refused: x"),
)
operators = st.builds(
    an_operator,
    heard=st.lists(st.text(max_size=5), max_size=3).map(tuple),
    exposed_keys=st.just((Path("/nowhere"),)),
)


@settings(max_examples=150)
@given(
    st.lists(examined, max_size=4).map(tuple), st.lists(silent, max_size=2).map(tuple), operators
)
def test_no_facts_at_all_can_break_the_judgement_or_steer_the_terminal(nodes, silent_nodes, own):
    facts = ClusterFacts("home", own, nodes, silent_nodes, 3, "", 1.8e9)
    findings = judge(facts)
    assert findings or not silent_nodes
    assert [f.severity for f in findings] == sorted(f.severity for f in findings)
    assert all(finding.what and finding.to_do and finding.nodes for finding in findings)
    text = findings_text(findings, width=1 << 20).plain
    assert text == shown_text(text) and text.count("\n") == 2 * len(findings)
    narrow = findings_text(findings, width=40).plain.splitlines()
    assert all(cell_len(line) <= 40 or line.startswith("    -> ") for line in narrow[:-1])
    shown = HarmlessConsole()
    shown.file = io.StringIO()
    shown.print(FactTables(facts))
    assert steering(shown.file.getvalue()) == []

"""One node after the other: each finding, and both sides of what it depends on."""

import pytest

from pi_cluster.cluster.errors import NodeLost, VersionError
from pi_cluster.cluster.wire.peer import Peer
from pi_cluster.deploy.doctor.facts import HostService, Silent
from pi_cluster.deploy.doctor.findings import Severity
from pi_cluster.deploy.doctor.judgement import judge
from pi_cluster.protos import pi_cluster_pb2 as pb
from tests.support.facts import a_cluster, a_node, a_port, with_first

PROBLEM, WARNING, NOTE = Severity
PI_4 = "Raspberry Pi 4 Model B Rev 1.4"
MIB = 1 << 20


def found(facts, node="pi1"):
    """Severity and words of what is said of a node."""
    return [
        (finding.severity, f"{finding.what} -> {finding.to_do}")
        for finding in judge(facts)
        if node in finding.nodes
    ]


def the_only(facts, severity, *words, node="pi1"):
    """Exactly this is the matter, and each word of it is said."""
    findings = found(facts, node)
    assert [found_severity for found_severity, _ in findings] == [severity], findings
    for word in words:
        assert word in findings[0][1], findings
    return True


def nothing(facts):
    assert judge(facts) == []
    return True


def test_nothing_is_the_matter_with_a_cluster_that_is_well():
    assert nothing(a_cluster())


@pytest.mark.parametrize(
    "changes",
    [
        {"architecture": "armv7l", "wheel": "py3-none-linux_armv7l"},
        {"system": "Raspbian GNU/Linux 12 (bookworm)"},
        {"wheel": "py3-none-manylinux_2_36_armv7l", "architecture": "armv7l"},
    ],
)
def test_a_32_bit_system_is_a_problem(changes):
    assert the_only(with_first(**changes), PROBLEM, "32-bit", "Raspberry Pi OS (64-bit)")


def test_an_old_system_is_a_warning_and_the_oldest_supported_is_not():
    old = "Debian GNU/Linux 11 (bullseye)"
    assert the_only(with_first(system=old), WARNING, old)
    assert the_only(with_first(system="Ubuntu 20.04.6 LTS"), WARNING, "Ubuntu 20.04")
    for fine in ("Debian GNU/Linux 12 (bookworm)", "Debian GNU/Linux 13 (trixie)", "Fedora 5"):
        assert nothing(with_first(system=fine))
    assert nothing(with_first(system="Ubuntu 22.04.4 LTS"))


def test_python_before_3_11_is_a_problem():
    assert the_only(with_first(python="3.10.14"), PROBLEM, "Python 3.10.14", "3.11")
    assert the_only(with_first(python="3.9.2"), PROBLEM, "Python 3.9.2")
    assert nothing(with_first(python="3.11.0")) and nothing(with_first(python="3.14.0rc1"))


def test_a_wheel_of_another_machine_is_a_problem_and_none_is_noted():
    assert the_only(with_first(wheel="py3-none-linux_x86_64"), PROBLEM, "linux_x86_64", "aarch64")
    assert the_only(with_first(wheel=""), NOTE, "not installed from a wheel")
    assert nothing(with_first(wheel="py3-none-manylinux_2_36_aarch64"))


def test_kernels_slower_than_the_board_allows_are_a_warning():
    portable = a_cluster(a_node(kernels="portable"))
    assert the_only(portable, WARNING, "'portable'", "'neon-dotprod'", "PI_CLUSTER_KERNELS")
    neon = a_cluster(a_node(kernels="neon"))
    assert the_only(neon, WARNING, "'neon'", "'neon-dotprod'", "Raspberry Pi 5")
    assert nothing(a_cluster(a_node(kernels="neon", model=PI_4)))
    assert the_only(a_cluster(a_node(kernels="portable", model=PI_4)), WARNING, "'neon'")
    here = {"architecture": "x86_64", "wheel": "py3-none-linux_x86_64", "model": ""}
    assert the_only(a_cluster(a_node(kernels="portable", **here)), WARNING, "'avx2'")
    assert nothing(a_cluster(a_node(kernels="avx512", **here)))


def test_little_memory_is_a_warning():
    small = {"recorded": None, "free_memory_bytes": 400 * MIB}
    assert the_only(with_first(memory_bytes=800 * MIB - 1, **small), WARNING, "800.0 MiB")
    assert nothing(with_first(memory_bytes=800 * MIB, **small))


def test_hardly_any_free_memory_is_a_warning():
    assert the_only(with_first(free_memory_bytes=100 * MIB - 1), WARNING, "are free", "--texts")
    assert nothing(with_first(free_memory_bytes=100 * MIB))


def test_a_node_that_nears_its_limit_now_is_a_warning():
    assert the_only(with_first(short_of_memory=True), WARNING, "short of memory", "--texts")


def test_swap_in_use_is_a_warning():
    assert the_only(with_first(used_swap_bytes=64 * MIB), WARNING, "64.0 MiB of swap")
    assert nothing(with_first(used_swap_bytes=64 * MIB - 1))


def test_a_limit_below_what_the_stage_needs_is_a_problem():
    needed = a_node().recorded.memory_bytes
    facts = with_first(memory_limit_bytes=needed - 1)
    assert the_only(facts, PROBLEM, "may use 2.0 GiB", "cluster.toml")
    assert nothing(with_first(memory_limit_bytes=needed))
    assert nothing(with_first(memory_limit_bytes=needed - 1, recorded=None))


def test_a_machine_smaller_than_its_stage_is_a_problem():
    needed = a_node().recorded.memory_bytes
    assert the_only(with_first(memory_bytes=needed - 1), PROBLEM, "the machine has")
    assert nothing(with_first(memory_bytes=needed))


def test_programs_killed_for_want_of_memory_are_a_warning():
    assert the_only(with_first(out_of_memory_kills=2), WARNING, "2 since boot", "journalctl -k")


def test_a_full_disk_is_a_problem_and_a_filling_one_a_warning():
    assert the_only(with_first(free_disk_bytes=200 * MIB - 1), PROBLEM, "left on the disk")
    assert the_only(with_first(free_disk_bytes=200 * MIB), WARNING, "200.0 MiB", "apt clean")
    assert the_only(with_first(free_disk_bytes=1024 * MIB - 1), WARNING)
    assert nothing(with_first(free_disk_bytes=1024 * MIB))


def test_a_disk_that_cannot_be_written_is_a_problem():
    told = "the disk of /var/lib/pi-cluster is mounted read-only"
    assert the_only(with_first(disk_problem=told), PROBLEM, told, "dmesg", "failing")


def test_a_slow_disk_is_a_warning_and_one_not_measured_is_not():
    assert the_only(with_first(disk_read_bytes_ps=19.9e6), WARNING, "19.9 MB/s", "A2 microSD")
    assert nothing(with_first(disk_read_bytes_ps=20e6))
    assert nothing(with_first(disk_read_bytes_ps=0.0))


def test_each_damaged_shard_is_a_problem_with_its_name_or_its_digest():
    damaged = [
        pb.DamagedShard(sha256="a" * 64, name="layer-07.safetensors", problem="is missing"),
        pb.DamagedShard(sha256="b" * 64, problem="cannot be read: Input/output error"),
    ]
    facts = with_first()
    facts.nodes[0].about.damaged_shards.extend(damaged)
    words = [words for severity, words in found(facts) if severity is PROBLEM]
    assert len(words) == 2 and all("the next `up`" in one for one in words)
    assert "layer-07.safetensors is missing" in words[0]
    assert f"shard {'b' * 12} cannot be read: Input/output error" in words[1]


def test_weights_that_two_rounds_have_missed_are_a_warning():
    facts = with_first()
    facts.nodes[0].about.stage.verified_ago_s = 14 * 86_400
    assert nothing(facts)
    facts.nodes[0].about.stage.verified_ago_s += 1
    assert the_only(facts, WARNING, "14 days ago", "verify --nodes")


def test_heat_is_a_warning_from_80_degrees_and_a_problem_from_85():
    assert nothing(with_first(temperature_c=79.9))
    assert the_only(with_first(temperature_c=80.0), WARNING, "80 °C", "fan")
    assert the_only(with_first(temperature_c=84.9), WARNING)
    assert the_only(with_first(temperature_c=85.0), PROBLEM, "85 °C")


@pytest.mark.parametrize(
    ("bit", "severity", "words"),
    [
        (0, PROBLEM, ("under-voltage", "supply")),
        (1, WARNING, ("frequency is capped",)),
        (2, PROBLEM, ("throttled",)),
        (3, WARNING, ("soft temperature limit", "fan")),
    ],
)
def test_each_flag_of_the_firmware_has_its_meaning_now_and_since_boot(bit, severity, words):
    assert the_only(with_first(throttled=1 << bit), severity, *words)
    since_boot = with_first(throttled=1 << (16 + bit))
    assert the_only(since_boot, WARNING, "not now, but since boot", *words)
    both = with_first(throttled=0x10001 << bit)
    assert the_only(both, severity, *words)


def test_flags_without_a_meaning_and_flags_not_told_are_nothing():
    assert nothing(with_first(throttled=0xFFF0_FFF0)) and nothing(with_first(throttled=None))


def test_a_clock_that_nobody_keeps_is_a_warning_and_one_not_told_of_is_not():
    facts = with_first(clock_synchronised=False)
    assert the_only(facts, WARNING, "not synchronised", "timedatectl set-ntp true")
    assert nothing(with_first(clock_synchronised=None))


def test_a_slow_cable_is_a_warning_except_where_the_board_has_no_better():
    assert the_only(with_first(ports=[a_port(megabits_ps=100)]), WARNING, "100 Mbit/s", "cable")
    assert nothing(with_first(ports=[a_port(megabits_ps=0)]))  # not told
    assert nothing(with_first(ports=[a_port(megabits_ps=100, is_up=False)]))
    pi_3 = {"model": "Raspberry Pi 3 Model B Rev 1.2", "kernels": "neon"}
    facts = a_cluster(a_node(ports=[a_port(megabits_ps=100)], **pi_3))
    assert the_only(facts, NOTE, "100 Mbit/s")


def test_half_duplex_is_a_warning():
    assert the_only(with_first(ports=[a_port(full_duplex=False)]), WARNING, "half duplex")
    port = a_port()
    port.ClearField("full_duplex")
    assert nothing(with_first(ports=[port]))


def test_a_link_that_comes_and_goes_is_a_warning_which_names_energy_efficient_ethernet():
    facts = with_first(ports=[a_port(carrier_changes=11)])
    assert the_only(facts, WARNING, "11 changes in 10.0 hours", "ethtool --set-eee eth0 eee off")
    facts = with_first(ports=[a_port(carrier_changes=11, energy_efficient=False)])
    assert the_only(facts, WARNING, "another cable")
    assert nothing(with_first(ports=[a_port(carrier_changes=10)]))
    assert nothing(with_first(ports=[a_port(carrier_changes=11)], uptime_s=11 * 3600))


def test_wi_fi_that_sleeps_is_a_warning():
    radio = {"name": "wlan0", "is_wireless": True, "megabits_ps": 0}
    asleep = a_port(power_saving=True, **radio)
    findings = found(with_first(ports=[asleep]))
    assert [severity for severity, _ in findings] == [WARNING, NOTE]
    assert "sudo iw dev wlan0 set power_save off" in findings[0][1]
    assert the_only(with_first(ports=[a_port(power_saving=False, **radio)]), NOTE, "Wi-Fi alone")


def test_wi_fi_beside_a_cable_is_a_warning():
    radio = a_port(name="wlan0", is_wireless=True, megabits_ps=0)
    assert the_only(with_first(ports=[a_port(), radio]), WARNING, "wlan0", "nmcli radio wifi off")
    radio.is_up = False
    assert nothing(with_first(ports=[a_port(), radio]))


def test_a_certificate_is_a_warning_two_weeks_before_its_end_and_a_problem_after():
    now, day = a_cluster().now_unix_s, 86_400
    assert nothing(with_first(certificate_expires_unix_s=int(now + 14 * day)))
    soon = with_first(certificate_expires_unix_s=int(now + 14 * day - 1))
    assert the_only(soon, WARNING, "14.0 days", "pi-cluster up")
    assert the_only(with_first(certificate_expires_unix_s=int(now)), PROBLEM, "ended")
    assert nothing(with_first(certificate_expires_unix_s=0))  # has none


def test_a_node_without_its_stage_is_a_problem():
    assert the_only(with_first(stage=None), PROBLEM, "no stage", "0:8")
    assert nothing(with_first(stage=None, recorded=None))
    assert the_only(with_first(stage=pb.StageStatus(epoch=4)), PROBLEM, "somebody else")


def test_a_node_that_moved_is_a_warning():
    moved = Peer("192.168.1.99:7711", "id-of-pi1", "pi1")
    facts = with_first(peer=moved)
    assert the_only(facts, WARNING, "192.168.1.10:7711", "192.168.1.99:7711")


def test_an_idle_node_that_is_busy_is_noted():
    busy = with_first(load=6.1)
    assert the_only(busy, NOTE, "6.1 programs", "top")
    assert nothing(with_first(load=6.0))
    stage = pb.StageStatus(epoch=3, coordinator="somebody")
    assert nothing(with_first(load=99.0, stage=stage))


@pytest.mark.parametrize(
    ("connection", "words"),
    [
        ("refused: nothing listens on that port", ("worker does not run", "journalctl -u")),
        ("no answer: the machine is off", ("ping 192.168.1.10", "ufw allow 7711")),
        ("no route: it is on another network", ("ping 192.168.1.10",)),
        ("no such name", ("written rightly",)),
        ("", ("gives no good answer: it speaks French", "journalctl -u pi-cluster-home -n 50")),
    ],
)
def test_a_silent_node_is_a_problem_with_its_cause(connection, words):
    peer = Peer("192.168.1.10:7711", "id-of-pi1", "pi1")
    silent = Silent(peer, NodeLost("it speaks French"), connection)
    facts = a_cluster(a_node("pi2"), a_node("pi3"), silent=(silent,))
    assert the_only(facts, PROBLEM, *words)


REFUSED = "refused: nothing listens on that port"


@pytest.mark.parametrize(
    ("connection", "service", "words"),
    [
        (
            REFUSED,
            HostService("pi@pi1", state="failed (failed)", restarts=3, journal=("a", "no room")),
            ("is failed", "3 times, and said last: no room", "ssh pi@pi1 journalctl"),
        ),
        (
            "no answer: the machine is off",
            HostService("pi@pi1", state="active (running)", is_active=True),
            ("its worker runs, but cannot be reached from here", "ufw allow 7711"),
        ),
        (
            "no answer: the machine is off",
            HostService("pi@pi1", error="pi1 does not answer"),
            ("no connection to 192.168.1.10:7711", "over SSH: pi1 does not answer", "power"),
        ),
        (
            "",
            HostService("pi@pi1", state="active (running)", is_active=True),
            ("gives no good answer: it speaks French",),
        ),
    ],
)
def test_what_the_host_of_a_silent_node_says_over_ssh_counts_more(connection, service, words):
    peer = Peer("192.168.1.10:7711", "id-of-pi1", "pi1")
    silent = Silent(peer, NodeLost("it speaks French"), connection, service=service)
    facts = a_cluster(a_node("pi2"), a_node("pi3"), silent=(silent,))
    assert the_only(facts, PROBLEM, *words)


def test_a_node_of_another_wire_version_is_told_to_be_updated():
    error = VersionError("pi1 speaks version 2 of the wire protocol, this machine 1")
    silent = Silent(Peer("192.168.1.10:7711", "", "pi1"), error, "")
    facts = a_cluster(a_node("pi2"), a_node("pi3"), silent=(silent,))
    assert the_only(facts, PROBLEM, "version 2 of the wire", "same version everywhere")


def test_what_all_nodes_have_in_common_is_said_once_and_the_worst_stands_first():
    nodes = [a_node(name, clock_synchronised=False) for name in ("pi2", "pi3")]
    first = a_node("pi1", clock_synchronised=False, temperature_c=90)
    findings = judge(a_cluster(first, *nodes))
    assert [finding.nodes for finding in findings] == [("pi1",), ("pi1", "pi2", "pi3")]
    assert [finding.severity for finding in findings] == [PROBLEM, WARNING]

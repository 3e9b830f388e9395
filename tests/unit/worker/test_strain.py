"""What a worker tells of its own memory and heat, on folders that look as ``/`` does."""

import pytest

from pi_cluster.protos import pi_cluster_pb2 as pb
from pi_cluster.worker.machine import board, memory_pressure
from pi_cluster.worker.machine.offer import UsableMemory
from pi_cluster.worker.machine.strain import StrainGauge
from tests.support.machines import machine_of_a_group, pc, pi_4, pi_5, write_files

MIB = 1 << 20
LIMIT = 400 * MIB  # of which a twentieth is 20 MiB


def group(root, *, used, files=0, stalled=0.0, version=2):
    """A worker alone in a control group with a limit of ``LIMIT``; MiB, and percent."""
    return machine_of_a_group(
        root, version=version, limit=LIMIT, used=used * MIB, files=files * MIB, stalled=stalled
    )


@pytest.fixture
def gauge(tmp_path, monkeypatch):
    """One that looks anew whenever it is asked."""
    monkeypatch.setattr("pi_cluster.worker.machine.strain._LOOK_EVERY_S", 0.0)
    group(tmp_path, used=100)
    return StrainGauge(UsableMemory(root=tmp_path), lambda: 0, tmp_path)


@pytest.mark.parametrize("version", [1, 2])
def test_pages_of_files_are_room_in_a_control_group_of_either_version(tmp_path, version):
    group(tmp_path, used=390, files=150, version=version)
    assert memory_pressure.limit_bytes(tmp_path) == LIMIT
    assert memory_pressure.room_bytes(tmp_path) == 160 * MIB
    memory = UsableMemory(root=tmp_path)
    assert (memory.total_bytes, memory.free_bytes) == (LIMIT, 160 * MIB)


def test_the_fullest_of_the_groups_that_a_worker_lies_in_counts(tmp_path):
    group(tmp_path, used=100)
    files = {"memory.max": str(LIMIT), "memory.current": str(395 * MIB), "memory.stat": "anon 1\n"}
    write_files(tmp_path, {f"sys/fs/cgroup/system.slice/{n}": text for n, text in files.items()})
    assert memory_pressure.room_bytes(tmp_path) == 5 * MIB


def test_without_a_limit_the_machine_alone_has_its_say(tmp_path):
    write_files(tmp_path, {"proc/meminfo": "MemAvailable: 2048 kB\n"})
    assert memory_pressure.room_bytes(tmp_path) is None
    assert UsableMemory(root=tmp_path).free_bytes == 2 * MIB


def test_a_worker_is_short_at_a_twentieth_of_its_limit_and_until_half_as_much_more(tmp_path, gauge):
    told = []
    for used in (379, 381, 379, 371, 369, 379):
        group(tmp_path, used=used)
        told.append(gauge.is_short_of_memory)
    assert told == [False, True, True, True, False, False]


def test_after_a_while_what_is_left_is_enough_if_it_is_the_least(tmp_path, gauge, monkeypatch):
    told = []
    for used, waits_s in ((381, 10.0), (379, 10.0), (379, 0.0), (381, 0.0)):
        group(tmp_path, used=used)
        monkeypatch.setattr("pi_cluster.worker.machine.strain._WAITS_FOR_MORE_S", waits_s)
        told.append(gauge.is_short_of_memory)
    assert told == [True, True, False, True]


def test_weights_that_are_mapped_should_stay_in_memory(tmp_path, monkeypatch):
    group(tmp_path, used=390, files=150)
    memory = UsableMemory(root=tmp_path)
    assert not StrainGauge(memory, lambda: 139 * MIB, tmp_path).is_short_of_memory
    assert StrainGauge(memory, lambda: 141 * MIB, tmp_path).is_short_of_memory


@pytest.mark.parametrize("place", ["group", "machine"])
def test_a_worker_that_mostly_waits_for_memory_is_short_of_it(tmp_path, gauge, place):
    told = []
    for percent in (19.0, 21.0, 6.0, 4.0):
        if place == "group":
            group(tmp_path, used=100, stalled=percent)
        else:
            text = f"some avg10=90.00 total=1\nfull avg10={percent} avg60=0.00 total=1\n"
            write_files(tmp_path, {"proc/pressure/memory": text})
        told.append(gauge.is_short_of_memory)
    assert told == [False, True, True, False]


@pytest.mark.parametrize("text", ["", "full", "full avg10=x", "full avg10=nan", "full avg10"])
def test_what_cannot_be_read_of_stalls_is_no_stall(tmp_path, text):
    write_files(tmp_path, {"proc/pressure/memory": text})
    assert memory_pressure.stalled_share(tmp_path) == 0.0


def test_a_pi_that_its_firmware_slows_down_tells_by_how_much(tmp_path):
    pi_4(tmp_path)
    clock(tmp_path, 600_000, 1_500_000)
    gauge = StrainGauge(UsableMemory(root=tmp_path), lambda: 0, tmp_path)
    reply, about = pb.PingReply(), pb.NodeDescription()
    gauge.tell(reply)
    gauge.describe(about)
    assert (reply.clock_share, reply.temperature_c) == (0.4, 82.277)
    assert (about.clock_share, about.firmware_flags) == (0.4, 0x50005)


def test_an_idle_processor_with_a_low_clock_is_not_slowed_down(tmp_path):
    pi_5(tmp_path)
    clock(tmp_path, 1_500_000, 2_400_000)
    gauge = StrainGauge(UsableMemory(root=tmp_path), lambda: 0, tmp_path)
    reply, about = pb.PingReply(), pb.NodeDescription()
    gauge.tell(reply)
    gauge.describe(about)
    assert (reply.clock_share, about.clock_share, about.firmware_flags) == (0.0, 0.625, 0)


def test_the_clock_is_that_of_the_fastest_core_where_it_is_told(tmp_path):
    assert board.clock_share(pc(tmp_path)) == 0.0
    clock(tmp_path, 800_000, 4_000_000)
    clock(tmp_path, 3_000_000, 4_000_000, policy=4)
    clock(tmp_path, "<unknown>", 4_000_000, policy=5)
    assert board.clock_share(tmp_path) == 0.75


def clock(root, now, highest, policy=0):
    """Kilohertz of some cores."""
    folder = f"sys/devices/system/cpu/cpufreq/policy{policy}"
    files = {"scaling_cur_freq": f"{now}\n", "cpuinfo_max_freq": f"{highest}\n"}
    write_files(root, {f"{folder}/{name}": text for name, text in files.items()})

"""What a worker finds out about its machine, read from folders as several machines show them."""

import os

import pytest

from pi_cluster.worker.machine import board, clock, memory_pressure, operating_system, ports
from pi_cluster.worker.machine.system_files import ROOT, read_counters, read_number, read_text
from tests.support.machines import container, pc, pi_4, pi_5, write_files


def ports_of(root, addresses=None):
    return {port.name: port for port in ports.network_ports(addresses or {}, root)}


def test_a_pi_5_is_known_by_its_board_and_tells_all(tmp_path):
    root = pi_5(tmp_path)
    assert board.model(root) == "Raspberry Pi 5 Model B Rev 1.0"
    assert board.temperature_c(root) == 48.85
    assert board.throttled(root) == 0
    assert operating_system.system(root) == "Debian GNU/Linux 12 (bookworm)"
    assert memory_pressure.swap(root) == memory_pressure.Swap(204784 << 10, 0)
    assert memory_pressure.limit_bytes(root) == 6 << 30
    assert memory_pressure.out_of_memory_kills(root) == 0
    assert clock.is_synchronised(root) is True
    assert clock.uptime_s(root) == 93600.25


def test_a_pi_4_in_trouble_tells_of_it(tmp_path):
    root = pi_4(tmp_path)
    assert board.model(root) == "Raspberry Pi 4 Model B Rev 1.4"
    assert board.temperature_c(root) == 82.277
    assert board.throttled(root) == 0x50005
    assert operating_system.system(root) == "Debian GNU/Linux 11 (bullseye)"
    assert memory_pressure.swap(root) == memory_pressure.Swap(102396 << 10, 100000 << 10)
    assert memory_pressure.limit_bytes(root) == 1 << 30  # version 1 of control groups
    assert memory_pressure.out_of_memory_kills(root) == 3
    assert clock.is_synchronised(root) is False


def test_a_laptop_tells_the_temperature_of_its_processor_not_of_its_case(tmp_path):
    root = pc(tmp_path)
    assert board.model(root) == "ThinkPad T14"
    assert board.temperature_c(root) == 61.0
    assert board.throttled(root) is None
    assert operating_system.system(root) == "Ubuntu 24.04.1 LTS"


@pytest.mark.parametrize("make", [container, lambda root: root])
def test_what_a_container_hides_is_left_out(tmp_path, make):
    root = make(tmp_path)
    assert (board.model(root), board.temperature_c(root), board.throttled(root)) == ("", 0.0, None)
    assert operating_system.system(root) == ""
    assert memory_pressure.swap(root) == memory_pressure.Swap(0, 0)
    assert memory_pressure.limit_bytes(root) == memory_pressure.out_of_memory_kills(root) == 0
    assert clock.is_synchronised(root) is None
    assert clock.uptime_s(root) == 0.0
    assert ports_of(root) == {}


def test_the_voltage_monitor_stands_in_where_the_firmware_shows_no_flags(tmp_path):
    files = {"sys/class/hwmon/hwmon0/name": "cpu_thermal\n"}
    files |= {"sys/class/hwmon/hwmon1/name": "rpi_volt\n"}
    alarm = "sys/class/hwmon/hwmon1/in0_lcrit_alarm"
    assert board.throttled(write_files(tmp_path, files | {alarm: "0\n"})) is None
    assert board.throttled(write_files(tmp_path, {alarm: "1\n"})) == 0x10001


@pytest.mark.parametrize("text", ["", "hot\n", "999999999\n", "-300000\n"])
def test_a_broken_thermal_sensor_is_passed_over(tmp_path, text):
    zones = "sys/class/thermal/thermal_zone"
    files = {f"{zones}0/temp": text, f"{zones}0/type": "cpu-thermal", f"{zones}1/temp": "40000"}
    assert board.temperature_c(write_files(tmp_path, files)) == 40.0


@pytest.mark.parametrize(
    ("limits", "least"),
    [
        ({"a": "max", "a/b": "max"}, 0),
        ({"a": "1000", "a/b": "max"}, 1000),
        ({"a": "1000", "a/b": "2000"}, 1000),
        ({"a/b": "2000"}, 2000),
        ({"": "500", "a/b": "2000"}, 500),
    ],
)
def test_the_least_limit_on_the_way_up_counts(tmp_path, limits, least):
    files = {f"sys/fs/cgroup/{group}/memory.max": text for group, text in limits.items()}
    write_files(tmp_path, files | {"proc/self/cgroup": "0::/a/b\n"})
    assert memory_pressure.limit_bytes(tmp_path) == least


def test_a_group_outside_the_visible_tree_does_not_lead_out_of_the_folder(tmp_path):
    write_files(tmp_path, {"memory.max": "7", "proc/self/cgroup": "0::/../../../..\n"})
    assert memory_pressure.limit_bytes(tmp_path / "root") == 0
    assert memory_pressure.limit_bytes(tmp_path) == 0


def test_ports_of_a_pi_5(tmp_path):
    found = ports_of(pi_5(tmp_path), {"eth0": ["192.168.1.20"]})
    assert found.keys() == {"eth0", "wlan0"}  # not loopback
    cable, radio = found["eth0"], found["wlan0"]
    assert (cable.is_up, cable.is_wireless, cable.megabits_ps) == (True, False, 1000)
    assert cable.full_duplex and cable.carrier_changes == 2
    assert list(cable.addresses) == ["192.168.1.20"]
    assert (radio.is_up, radio.is_wireless, radio.megabits_ps) == (False, True, 0)
    assert not radio.HasField("full_duplex")


def test_ports_of_a_pi_4_with_a_bad_cable(tmp_path):
    found = ports_of(pi_4(tmp_path))
    cable = found["eth0"]
    assert (cable.megabits_ps, cable.carrier_changes) == (100, 40)
    assert cable.HasField("full_duplex") and not cable.full_duplex
    assert found["wlan0"].is_wireless and found["wlan0"].is_up


def test_ports_of_containers_are_left_out_and_unknown_speeds_are_zero(tmp_path):
    found = ports_of(pc(tmp_path))
    assert found.keys() == {"enp0s31f6", "tun0", "wlp3s0"}
    assert found["enp0s31f6"].megabits_ps == 0 and not found["enp0s31f6"].HasField("full_duplex")
    assert found["tun0"].is_up  # known by its carrier


def test_a_machine_with_hundreds_of_ports_tells_of_some(tmp_path):
    for number in range(200):
        write_files(tmp_path, {f"sys/class/net/p{number:03}/type": "1"})
    assert len(ports_of(tmp_path)) == 32


def test_files_are_read_up_to_a_bound_and_never_fail(tmp_path):
    large = tmp_path / "large"
    large.write_bytes(b"7" * 1_000_000)
    assert len(read_text(large)) == 64 << 10
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\n\0")
    assert read_text(tmp_path / "bytes") == "\ufffd\ufffd"
    assert read_text(tmp_path) is None  # a folder
    assert read_text(tmp_path / "none") is None and read_number(tmp_path / "none") is None
    write_files(tmp_path, {"counters": "a 1\nb: 22 kB\nc x\nd\n\ne -4\n"})
    assert read_counters(tmp_path / "counters") == {"a": 1, "b": 22}


def test_this_very_machine_can_be_asked():
    assert operating_system.python().startswith("3.")
    assert operating_system.architecture() == os.uname().machine
    assert operating_system.wheel().startswith("py3-none-linux_")
    assert clock.uptime_s() > 0 and clock.load() >= 0
    assert clock.is_synchronised() in (True, False, None)
    assert board.throttled(ROOT) is None or board.throttled(ROOT) >= 0
    assert 0 <= board.temperature_c(ROOT) < 150
    assert "lo" in ports.addresses_by_port()
    for port in ports.network_ports(ports.addresses_by_port()):
        assert port.name != "lo"


def test_adjtimex_is_asked_only_where_no_filter_may_kill_for_it(tmp_path):
    status = "proc/self/status"
    assert clock.is_synchronised(write_files(tmp_path, {status: "Seccomp:\t2\n"})) is None
    assert clock.is_synchronised(write_files(tmp_path, {status: "Name:\tx\n"})) is None
    assert clock.is_synchronised(write_files(tmp_path, {status: "Seccomp:\t0\n"})) in (True, False)

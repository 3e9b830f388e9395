"""Whether a host is fit to be a node."""

import tomllib

import pytest

from pi_cluster.cluster.errors import HostError
from pi_cluster.coordinator.records.known_hosts import Host, HostRole
from pi_cluster.deploy.doctor.requirements import OLDEST_PYTHON, PYTHON_NEEDED
from pi_cluster.deploy.hosts.answers import HostFacts
from pi_cluster.deploy.hosts.fitness import check_disk, check_fitness, target_of
from pi_cluster.deploy.hosts.systemd_unit import worker_unit
from pi_cluster.deploy.wheels.wheelhouse import Target, Wheel, Wheelhouse
from pi_cluster.worker.command_line import WorkerCommand
from tests.support.host_answers import NOW, a_pi
from tests.support.own_sources import ROOT

WORKER = Host("pi1")
COORDINATOR = Host("pi1", role=HostRole.COORDINATOR)
MIB = 1 << 20


def listening(cluster, address):
    """A service as facts tell of it."""
    command = WorkerCommand(cluster, "/var/lib/x", listen=address, threads=2)
    return {"name": f"pi-cluster-{cluster}.service", "unit": worker_unit(command)}


def facts(**changes):
    return HostFacts.of("pi1", a_pi() | changes)


def house(tmp_path):
    wheels = (Wheel(tmp_path / "a.whl", "0" * 64, 50 * MIB, 150 * MIB),)
    return Wheelhouse(wheels, Target((3, 11), "aarch64", 36))


def test_a_pi_of_today_is_fit():
    assert check_fitness(facts(), WORKER, NOW) == []
    assert target_of(facts()) == Target((3, 11), "aarch64", 36)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"machine": "aarch64", "pointer_bits": 32},
            "32 bit.*kernel for aarch64.*64-bit Raspberry",
        ),
        ({"machine": "armv7l", "pointer_bits": 32}, "32 bit.*armv7l.*64-bit Raspberry Pi OS"),
        ({"machine": "riscv64"}, "riscv64"),
        ({"python": [3, 9, 2]}, "CPython 3.9.2.*needs Python 3.11"),
        ({"implementation": "PyPy"}, "PyPy"),
        ({"has_systemd": False}, "systemd does not run"),
        ({"clock_unix_s": NOW - 86_400 * 30}, "30.0 days behind"),
        ({"clock_unix_s": NOW + 86_400 * 2}, "2.0 days ahead"),
        (
            {"other_services": [listening("attic", "0.0.0.0:7711")]},
            "7711 is taken there by pi-cluster-attic.service.*down --purge --cluster attic`",
        ),
    ],
)
def test_what_is_not_fit_is_refused_with_the_reason(changes, reason):
    with pytest.raises(HostError, match=reason):
        check_fitness(facts(**changes), WORKER, NOW)


def test_a_coordinator_needs_no_systemd():
    assert check_fitness(facts(has_systemd=False), COORDINATOR, NOW) == []


def test_a_service_on_another_port_is_in_nobodys_way():
    others = [listening("attic", "0.0.0.0:7712"), listening("cellar", "192.168.1.4:17711")]
    assert check_fitness(facts(other_services=others), WORKER, NOW) == []


def test_a_coordinator_needs_no_port():
    others = [listening("attic", "0.0.0.0:7711")]
    assert check_fitness(facts(other_services=others), COORDINATOR, NOW) == []


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (0x50005, "pi1: under-voltage: "),
        (0x50004, "pi1: the processor is throttled: "),
        (0x50000, "pi1: not now, but since boot: under-voltage: "),
        (0x40000, "pi1: not now, but since boot: the processor is throttled: "),
    ],
)
def test_a_weak_power_supply_is_told_and_no_obstacle(flags, said):
    assert said in check_fitness(facts(throttled=flags), WORKER, NOW)[0]


def test_little_memory_is_told_and_no_obstacle():
    [said] = check_fitness(facts(memory_bytes=425 * MIB), WORKER, NOW)
    assert said == ("pi1 has 425.0 MiB of memory, which hold only few layers: 2 GB or more do well")
    assert check_fitness(facts(memory_bytes=425 * MIB), COORDINATOR, NOW) == []
    assert check_fitness(facts(memory_bytes=None), WORKER, NOW) == []


def test_a_limit_beyond_the_memory_is_told():
    limited = Host("pi1", memory_bytes=6_000 * MIB)
    [said] = check_fitness(facts(), limited, NOW)
    assert "has 3.8 GiB of memory, less than the 5.9 GiB that `memory` in cluster.toml" in said
    assert check_fitness(facts(memory_bytes=8_000 * MIB), limited, NOW) == []


def test_a_system_without_glibc_has_no_wheels():
    with pytest.raises(HostError, match="not glibc"):
        target_of(facts(glibc=None))


def disks(program, data, same):
    both = {"device": 1, "free_bytes": program * MIB}
    other = both if same else {"device": 2, "free_bytes": data * MIB}
    return {"program": both, "wheels": both, "data": other}


@pytest.mark.parametrize(
    ("program", "data", "same", "fits"),
    [
        (200, 200, True, False),
        # 150 of the program, 50 of wheels, 100 of shards, 128 to spare
        (427, 427, True, False),
        (428, 428, True, True),
        (328, 227, False, False),
        (327, 228, False, False),
        (328, 228, False, True),
    ],
)
def test_each_disk_must_hold_what_lies_on_it(tmp_path, program, data, same, fits):
    told = facts(disks=disks(program, data, same))
    if fits:
        check_disk(told, house(tmp_path), 50 * MIB, False, 100 * MIB)
        return
    with pytest.raises(HostError, match=r"its disk has \d+\.0 MiB free.*nothing was installed"):
        check_disk(told, house(tmp_path), 50 * MIB, False, 100 * MIB)


def test_what_is_installed_needs_no_room_again(tmp_path):
    check_disk(facts(disks=disks(128, 128, True)), house(tmp_path), 0, True, 0)


def test_the_oldest_python_is_the_one_that_the_package_asks_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["requires-python"] == ">={}.{}".format(*OLDEST_PYTHON)
    assert PYTHON_NEEDED.endswith(project["requires-python"].removeprefix(">="))

"""Whether a host is fit to be a node: pure judgement over what it tells of itself."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from pi_cluster.cluster import settings
from pi_cluster.cluster.errors import HostError
from pi_cluster.cluster.shown import shown_line
from pi_cluster.cluster.trust.signing import EARLIER
from pi_cluster.coordinator.records.known_hosts import Host, HostRole
from pi_cluster.deploy.doctor.firmware import complaints
from pi_cluster.deploy.doctor.requirements import OLDEST_PYTHON, PYTHON_NEEDED
from pi_cluster.deploy.doctor.rules.memory import LEAST_BYTES
from pi_cluster.deploy.hosts.answers import HostFacts
from pi_cluster.deploy.hosts.remote import layout
from pi_cluster.deploy.hosts.systemd_unit import cluster_on_port
from pi_cluster.deploy.screen.output import size
from pi_cluster.deploy.wheels.wheelhouse import Target, Wheelhouse

MACHINES = ("aarch64", "x86_64")

_DAY_S = 86_400.0
_MARGIN_BYTES = 128 << 20  # a system whose disk is full does strange things
_NO_GLIBC = "its C library is not glibc, and there are no wheels for it: use Raspberry Pi OS"


def target_of(facts: HostFacts) -> Target:
    """What wheels must fit. Raises ``HostError`` when there are none for a host."""
    if facts.glibc is None or facts.glibc[0] != 2:
        raise HostError(f"{facts.label}: {_NO_GLIBC}")
    major, minor, _ = facts.python
    return Target((major, minor), facts.machine, facts.glibc[1])


def check_fitness(facts: HostFacts, host: Host, now_unix_s: float) -> list[str]:
    """Warnings about a host; raises ``HostError`` when it cannot be what it is wanted as."""
    label = facts.label
    _check_system(facts)
    warnings = [*_told_of_power(facts.throttled or 0)]
    if host.role is HostRole.WORKER:
        _check_systemd(label, facts.has_systemd)
        _check_port(label, facts.other_services)
        warnings += _told_of_memory(facts.memory_bytes, host.memory_bytes)
    _check_clock(label, facts.clock_unix_s - now_unix_s)
    return [f"{label}{text}" for text in warnings]


def _check_system(facts: HostFacts) -> None:
    label, system, machine = facts.label, shown_line(facts.system), shown_line(facts.machine)
    if facts.pointer_bits != 64:
        # Its kernel may have 64 all the same, as that of a Pi 4 does: `uname -m` says aarch64.
        raise HostError(
            f"{label}: its system has {facts.pointer_bits} bit ({system}, with a kernel for "
            f"{machine}), and pi-cluster needs 64: flash the 64-bit Raspberry Pi OS"
        )
    if machine not in MACHINES:
        raise HostError(
            f"{label}: it has a processor that this program does not run on ({machine}, {system}): "
            "use a Raspberry Pi 3, 4 or 5 with the 64-bit Raspberry Pi OS"
        )
    if facts.python[:2] < OLDEST_PYTHON or facts.implementation != "CPython":
        found = shown_line(f"{facts.implementation} {'.'.join(map(str, facts.python))}")
        raise HostError(
            f"{label}: it has {found} ({system}), and {PYTHON_NEEDED}: flash a newer Raspberry Pi "
            "OS (64-bit)"
        )


def _check_systemd(label: str, has_systemd: bool) -> None:
    if not has_systemd:
        raise HostError(
            f"{label}: systemd does not run there: start `pi-cluster worker` your own way and "
            "name it with --nodes"
        )


def _check_port(label: str, services: Sequence[Mapping[str, str]]) -> None:
    port = settings.DEFAULT_PORT
    if other := cluster_on_port(services, port):
        raise HostError(
            f"{label}: port {port} is taken there by {layout.unit_name(other)}, the worker of "
            "another cluster: use another Pi, or clear that cluster from all its hosts with "
            f"`pi-cluster down --purge --cluster {other}`; nothing was changed there"
        )


def _check_clock(label: str, ahead_s: float) -> None:
    if abs(ahead_s) > EARLIER.total_seconds():
        raise HostError(
            f"{label}: its clock is {abs(ahead_s) / _DAY_S:.1f} days "
            f"{'ahead' if ahead_s > 0 else 'behind'}, so certificates would not be valid there: "
            "`sudo timedatectl set-ntp true` there, and see that it reaches a time server"
        )


def _told_of_power(flags: int) -> Iterator[str]:
    """The worst that the firmware complains of: the others follow from it."""
    for worst in sorted(complaints(flags), key=lambda one: one.severity)[:1]:
        yield f": {worst.what}: {worst.to_do}"


def _told_of_memory(total_bytes: int | None, limit_bytes: int | None) -> Iterator[str]:
    if total_bytes is None:
        return
    if total_bytes < LEAST_BYTES:
        yield (
            f" has {size(total_bytes)} of memory, which hold only few layers: 2 GB or more do well"
        )
    if limit_bytes and limit_bytes > total_bytes:
        yield (
            f" has {size(total_bytes)} of memory, less than the {size(limit_bytes)} that `memory` "
            "in cluster.toml lets its worker use: write less there, and leave some to the system"
        )


def check_disk(
    facts: HostFacts, house: Wheelhouse, lacking_bytes: int, is_made: bool, shard_bytes: int
) -> None:
    """Raise ``HostError`` with the figures when what is to come does not fit a host's disks."""
    needs = {
        "wheels": lacking_bytes,
        "program": 0 if is_made else house.installed_bytes,
        "data": shard_bytes,
    }
    by_device: dict[int, int] = defaultdict(int)
    free: dict[int, int] = {}
    for name, disk in facts.disks.items():
        by_device[disk.device] += needs[name]
        free[disk.device] = disk.free_bytes
    for device, needed in by_device.items():
        if needed and needed + _MARGIN_BYTES > free[device]:
            raise HostError(
                f"{facts.label}: its disk has {size(free[device])} free, and "
                f"{size(needed + _MARGIN_BYTES)} are needed ({size(needs['program'])} for the "
                f"program, {size(needs['wheels'])} to install it from, {size(shard_bytes)} for "
                f"shards, {size(_MARGIN_BYTES)} to spare): make room there; nothing was installed"
            )

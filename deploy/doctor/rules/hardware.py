"""Disk, temperature, power supply and clock of one node."""

from collections.abc import Iterator

from pi_cluster.cluster.heat import COOLING, HOT_C, TOO_HOT_C
from pi_cluster.deploy.doctor.facts import ClusterFacts, Examined
from pi_cluster.deploy.doctor.findings import THIS_MACHINE, Finding, problem, warning
from pi_cluster.deploy.doctor.firmware import complaints
from pi_cluster.deploy.screen.output import size

LEAST_FREE_DISK_BYTES = 200 << 20  # logs and updates fill that in days, and then services stop
LOW_DISK_BYTES = 1 << 30  # a quarter of a 7B in q4, which the next `up` may want to move
SLOW_DISK_BYTES_PS = 20e6  # a sound microSD card reads 40 to 90 MB/s in a Pi
CLOCK_WARNING_S = 2.0  # logs of several nodes cannot be read side by side
CLOCK_PROBLEM_S = 300.0  # certificates and join tokens are valid too early or too late

_FAILING_CARD = "look at `dmesg` there and start it anew; a card that does it again is failing"
_TIME_SERVICE = "sudo timedatectl set-ntp true"


def disk(node: Examined) -> Iterator[Finding]:
    """A disk that cannot be written, is nearly full, or slow."""
    free, rate = node.about.free_disk_bytes, node.examination.disk_read_bytes_ps
    if node.about.disk_problem:
        yield problem(node.name, f"{node.about.disk_problem}: no shard can be kept", _FAILING_CARD)
    if free < LOW_DISK_BYTES:
        say = problem if free < LEAST_FREE_DISK_BYTES else warning
        yield say(
            node.name,
            f"{size(free)} are left on the disk for shards",
            "free some space (`sudo apt clean`, `sudo journalctl --vacuum-size=100M`, "
            "`sudo du -xh / | sort -h | tail`), or use a larger card",
        )
    if 0 < rate < SLOW_DISK_BYTES_PS:
        yield warning(
            node.name,
            f"the disk reads {rate / 1e6:.1f} MB/s, so weights take long to load",
            "use an A2 microSD card, or a disk at a blue USB port; an old card that became slow is "
            "about to fail",
        )


def temperature(node: Examined) -> Iterator[Finding]:
    """A processor so hot that it slows down."""
    degrees = node.about.temperature_c
    if degrees >= HOT_C:
        say = problem if degrees >= TOO_HOT_C else warning
        yield say(node.name, f"the processor has {degrees:.0f} °C, and slows down", COOLING)


def throttling(node: Examined) -> Iterator[Finding]:
    """What the firmware complains of: now, or since boot where it does not now."""
    for one in complaints(node.examination.throttled):
        yield Finding(one.severity, (node.name,), one.what, one.to_do)


def clock_service(node: Examined) -> Iterator[Finding]:
    """A clock that nobody keeps right."""
    examination = node.examination
    if examination.HasField("clock_synchronised") and not examination.clock_synchronised:
        yield warning(node.name, "its clock is not synchronised with a time server", _TIME_SERVICE)


def clock_offsets(facts: ClusterFacts) -> Iterator[Finding]:
    """Clocks that differ from ours; ours, where all of several others agree that it is wrong."""
    offsets = [node.clock_offset_s for node in facts.nodes]
    machines = {node.about.machine_id for node in facts.nodes}
    if len(machines) > 1 and _agree(offsets):
        offset = min(offsets, key=abs)
        yield _offset(THIS_MACHINE, -offset, "those of all nodes")
        return
    for node in facts.nodes:
        if abs(node.clock_offset_s) > CLOCK_WARNING_S:
            yield _offset(node.name, node.clock_offset_s, "this machine's")


def _agree(offsets: list[float]) -> bool:
    return (
        min(map(abs, offsets)) > CLOCK_WARNING_S and max(offsets) - min(offsets) <= CLOCK_WARNING_S
    )


def _offset(node: str, offset_s: float, others: str) -> Finding:
    say = problem if abs(offset_s) > CLOCK_PROBLEM_S else warning
    consequence = ": certificates and tokens are refused" if say is problem else ""
    return say(
        node,
        f"its clock is {_duration(offset_s)} {'ahead of' if offset_s > 0 else 'behind'} "
        f"{others}{consequence}",
        f"{_TIME_SERVICE}; then `timedatectl` tells whether it is synchronised",
    )


def _duration(seconds: float) -> str:
    for length, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if abs(seconds) >= 2 * length:
            return f"{abs(seconds) / length:.0f} {unit}"
    return f"{abs(seconds):.1f} s"

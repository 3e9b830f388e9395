"""What the firmware of a Raspberry Pi complains of, in the flags of ``vcgencmd get_throttled``."""

from collections.abc import Iterator
from dataclasses import dataclass

from pi_cluster.cluster.heat import COOLING
from pi_cluster.deploy.doctor.findings import Severity

_SUPPLY = (
    "use the supply made for the board (27 W for a Pi 5, 15 W for a Pi 4) with a short cable, and "
    "take USB disks to a powered hub"
)
_FLAGS = {
    0: (Severity.PROBLEM, "under-voltage: the supply gives less than 4.63 V", _SUPPLY),
    1: (Severity.WARNING, "the processor's frequency is capped", f"{_SUPPLY}; {COOLING}"),
    2: (Severity.PROBLEM, "the processor is throttled", f"{_SUPPLY}; {COOLING}"),
    3: (Severity.WARNING, "the soft temperature limit is active", COOLING),
}
"""By bit (Raspberry Pi documentation); the same 16 bits higher: since boot."""
_SINCE_BOOT = 16


@dataclass(frozen=True, slots=True)
class Complaint:
    """One flag that is set."""

    severity: Severity
    """A warning where the matter is over."""
    what: str
    to_do: str


def complaints(flags: int) -> Iterator[Complaint]:
    """What is complained of: now, or since boot where it is not now."""
    for bit, (severity, what, to_do) in _FLAGS.items():
        if flags >> bit & 1:
            yield Complaint(severity, what, to_do)
        elif flags >> (bit + _SINCE_BOOT) & 1:
            yield Complaint(Severity.WARNING, f"not now, but since boot: {what}", to_do)

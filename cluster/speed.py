"""What was measured of nodes and links, and how long work takes by it. No network."""

import math
from dataclasses import dataclass

STEP_COST_S = 0.0002
"""What a step costs each stage, and the coordinator, beside weights and links.

From ``bench`` of the embedded model, whose weights are next to nothing: two stages on one core each
of a Xeon at 2.1 GHz computed 0.44 and 0.57 ms a token, of which weights explain 0.25 and 0.26. A
Pi takes longer, which matters to small models only."""


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast a node computes with q4 weights; f16 and f32 are slower with many rows.

    Raises ``ValueError`` for a speed that nothing has.
    """

    read_bytes_ps: float
    """Weights, in bytes per second, multiplied by one row."""
    macs_ps: float
    """Multiply-adds per second with many rows."""

    def __post_init__(self) -> None:
        for name in ("read_bytes_ps", "macs_ps"):
            _check_positive(name, getattr(self, name))

    def compute_s(self, weight_bytes: int, macs_per_row: int, rows: int) -> float:
        """Seconds to multiply ``rows`` rows by the weights: reading or arithmetic, whichever is
        longer, since the kernels read ahead while they multiply.
        """
        return max(weight_bytes / self.read_bytes_ps, rows * macs_per_row / self.macs_ps)

    def slowed_to(self, share: float) -> "Speed":
        """What is left of this speed when a processor has only ``share`` of its clock."""
        return Speed(self.read_bytes_ps * share, self.macs_ps * share)

    def at_most(self, whole: "Speed", sharing: int) -> "Speed":
        """This speed, or an equal share of ``whole`` where that is less."""
        return Speed(
            min(self.read_bytes_ps, whole.read_bytes_ps / sharing),
            min(self.macs_ps, whole.macs_ps / sharing),
        )


@dataclass(frozen=True, slots=True)
class NodeProfile:
    """What a node measured of itself, once."""

    alone: Speed
    """With the threads of its worker, nothing else running."""
    machine: Speed
    """With all cores of its machine: what the workers on one machine share."""


@dataclass(frozen=True, slots=True)
class Link:
    """The way from one process to another. Raises ``ValueError`` for a way that cannot be."""

    delay_s: float
    """Of a message without content, one way."""
    bytes_ps: float

    def __post_init__(self) -> None:
        _check_positive("delay_s", self.delay_s)
        _check_positive("bytes_ps", self.bytes_ps)

    def message_s(self, size_bytes: int) -> float:
        """Seconds from sending a message to having all of it."""
        return self.delay_s + size_bytes / self.bytes_ps


def _check_positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} is {value}")

"""When a processor counts as hot, and when as slowed down for it."""

from pi_cluster.protos import pi_cluster_pb2 as pb

# A Pi slows down from 80 degrees, and harder at 85 (Raspberry Pi documentation, "Frequency
# management and thermal control").
HOT_C = 80.0
TOO_HOT_C = 85.0
COOL_AGAIN_C = 75.0  # a fan switches on and off around one temperature, which is no news each time
COOLING = "give it a heat sink or a fan, and air around the case"

_SLOWED_NOW = 0b1110  # capped, throttled, soft temperature limit: flags of `get_throttled`


def is_slowed_now(firmware_flags: int | None) -> bool:
    """Whether the firmware slows a processor, by the flags of ``vcgencmd get_throttled``.

    None where nothing tells, which no slowing follows from.
    """
    return firmware_flags is not None and bool(firmware_flags & _SLOWED_NOW)


def slowed_to(firmware_flags: int | None, clock_share: float) -> float:
    """The part of its speed that is left to a processor; 1 unless the firmware slows it now.

    The clock alone says nothing: an idle processor lowers it too.
    """
    return clock_share if is_slowed_now(firmware_flags) and 0 < clock_share < 1 else 1.0


def is_hot(about: pb.NodeDescription) -> bool:
    """Whether a Pi is so hot that it slows down; what is hot for one is usual for a laptop."""
    return about.HasField("firmware_flags") and about.temperature_c >= HOT_C


def share_left(about: pb.NodeDescription) -> float:
    """The same of what a node tells of itself."""
    flags = about.firmware_flags if about.HasField("firmware_flags") else None
    return slowed_to(flags, about.clock_share)

"""What goes first: how likely somebody goes on with each of the texts that are kept. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from pi_cluster.coordinator.scheduling.sequence import SequenceState

_MOST_GONE_ON = 0.5  # of the room: new chats need some too, until somebody goes on with them


class Worth(IntEnum):
    """How likely somebody goes on with a text that has ended; the lowest makes room first."""

    ONE_OFF = 0
    """Whoever asked said that nobody will."""
    NEW = 1
    GONE_ON = 2
    """Somebody did already, as with a chat that has a second turn."""


@dataclass(slots=True)
class Resident:
    """A sequence that the stages hold."""

    state: SequenceState
    positions: int
    """Counted against the limits."""
    prompt_length: int
    worth: Worth
    is_active: bool = True


def worth_of(source: Resident | None, shared: int, *, one_off: bool) -> Worth:
    """What a text is worth that begins with so much of another, or of none."""
    if one_off:
        return Worth.ONE_OFF
    # The prompt's last id is always computed anew, so asking the same again goes on with it too.
    if source and not source.is_active and shared >= source.prompt_length - 1:
        return Worth.GONE_ON
    return Worth.NEW


def most_worth_for(residents: Iterable[Resident], *, one_off: bool) -> Worth:
    """Of what may make room now for a text."""
    waits = one_off and any(other.is_active and other.worth is Worth.ONE_OFF for other in residents)
    return Worth.NEW if waits else Worth.GONE_ON


def by_worth(residents: Iterable[Resident], most: Worth, cache_positions: int) -> list[Resident]:
    """Those that are kept, up to a worth: by it, the least recently used first.

    ``residents`` begin with the most recently used. Texts that somebody went on with are worth no
    more than others beyond their share of the ``cache_positions``, the least recently used of them.
    """
    ranked: list[tuple[Worth, Resident]] = []
    left = _MOST_GONE_ON * cache_positions
    for resident in residents:
        worth = resident.worth
        if resident.is_active:
            continue
        if worth is Worth.GONE_ON:
            left -= resident.positions
            worth = Worth.GONE_ON if left >= 0 else Worth.NEW
        ranked.append((worth, resident))
    ranked.reverse()
    ranked.sort(key=lambda one: one[0])
    return [resident for worth, resident in ranked if worth <= most]

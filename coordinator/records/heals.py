"""How often a pipeline was lost and brought back, from the events that tell of it. Pure."""

import collections
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pi_cluster.coordinator.records.event_reading import Event
from pi_cluster.coordinator.records.events import EventKind


@dataclass(frozen=True, slots=True)
class Heals:
    """Heals among some events."""

    since_unix_s: float | None
    """When the pipeline was brought up, or the first event that is known; None without any."""
    healed: int
    not_healed: int
    mean_s: float | None
    """Of those whose time is known."""
    longest_s: float | None
    causes: Mapping[str, int]
    """To what sessions were lost, of those that were healed; most frequent first."""
    last: Event | None
    """The last that was healed."""


def heals_among(events: Sequence[Event]) -> Heals:
    """All heals of some events."""
    healed = [event for event in events if event.kind == EventKind.HEALED]
    took_s = [event.seconds for event in healed if event.seconds is not None]
    causes = collections.Counter(event.cause for event in healed if event.cause)
    return Heals(
        since_unix_s=events[0].unix_s if events else None,
        healed=len(healed),
        not_healed=sum(event.kind == EventKind.HEAL_FAILED for event in events),
        mean_s=sum(took_s) / len(took_s) if took_s else None,
        longest_s=max(took_s, default=None),
        causes=dict(causes.most_common()),
        last=healed[-1] if healed else None,
    )


def heals_since_up(events: Sequence[Event]) -> Heals:
    """Those since the pipeline was brought up, or since what is known of it begins."""
    ups = [at for at, event in enumerate(events) if event.kind == EventKind.UP]
    return heals_among(events[ups[-1] if ups else 0 :])

"""How often a pipeline was lost and brought back, from the events that tell of it."""

import collections
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from pi_cluster.cluster.errors import ClusterError
from pi_cluster.coordinator.records.event_reading import Event, EventReader
from pi_cluster.coordinator.records.events import EventKind, EventLog


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


def since_up(events: Sequence[Event]) -> Sequence[Event]:
    """Those since the pipeline was brought up, or since what is known of it begins."""
    ups = [at for at, event in enumerate(events) if event.kind == EventKind.UP]
    return events[ups[-1] if ups else 0 :]


class HealsSeen:
    """The heals of a cluster since its pipeline was brought up, as often as one looks.

    Events that cannot be read are a warning, and end nothing.
    """

    def __init__(self, cluster: str, warn: Callable[[str], None]) -> None:
        self._reader = EventReader(EventLog(cluster))
        self._events: Sequence[Event] = ()
        self._warn: Callable[[str], None] | None = warn

    def now(self) -> Heals:
        """Those that are known by now."""
        if self._warn:
            try:
                self._events = since_up([*self._events, *self._reader.read().events])
            except ClusterError as error:
                self._warn(str(error))
                self._warn = None
        return heals_among(self._events)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self._reader.__exit__(*failure)

"""Events and heals for people and programs: a table, a line for each, values for ``json``."""

import time
from collections.abc import Sequence
from typing import Any

from pi_cluster.cluster.shown import shown_line
from pi_cluster.coordinator.records.event_reading import Event
from pi_cluster.coordinator.records.events import EventKind
from pi_cluster.coordinator.records.heals import Heals, heals_among
from pi_cluster.deploy.screen import output
from pi_cluster.deploy.screen.tables import FittedTable, numbers, whole, words

_WORDS = {
    EventKind.UP: "brought up",
    EventKind.DOWN: "taken down",
    EventKind.NODE_LOST: "node lost",
    EventKind.NODE_SET_ASIDE: "set aside",
    EventKind.NODE_SLOW: "node slow",
    EventKind.NODE_HOT: "node hot",
    EventKind.MEMORY_SHORT: "memory short",
    EventKind.HEALED: "healed",
    EventKind.HEAL_FAILED: "not healed",
    EventKind.TAKEN_IN: "node taken in",
    EventKind.COPIES_MADE: "copies made",
}
_CAUSES = {
    "node_lost": "lost nodes",
    "session_expired": "expired sessions",
    "shard_damaged": "damaged shards",
    "new_pipeline": "new pipelines",
}


def event_table(events: Sequence[Event]) -> FittedTable:
    """A row for each event; what they say of heals stands below."""
    columns = (whole("when"), whole("what"), numbers("took"), words("how it went"))
    rows = [(_time(one.unix_s), _what(one), _took(one), one.said) for one in events]
    return FittedTable(columns, rows, caption=_caption(heals_among(events)))


def event_line(event: Event) -> str:
    """An event on one line."""
    return shown_line(f"{_time(event.unix_s)}  {_what(event)}: {event.said}")


def event_json(event: Event) -> dict[str, Any]:
    """An event as it is written down."""
    about = {"unix_s": event.unix_s, "kind": event.kind, "said": event.said}
    return {**about, **event.details}


def heals_line(heals: Heals, now_unix_s: float) -> str:
    """How often the pipeline was healed, for whoever looks at it; empty where it never was."""
    if not (heals.healed or heals.not_healed) or heals.since_unix_s is None:
        return ""
    words = [f"since {_time(heals.since_unix_s)} {_counted(heals)}"]
    if heals.last:
        ago = output.ago(now_unix_s - heals.last.unix_s)
        words.append(f"last {ago}: {heals.last.said}")
    return shown_line("; ".join(words))


def heals_json(heals: Heals) -> dict[str, Any]:
    """Figures of heals."""
    return {
        "since_unix_s": heals.since_unix_s,
        "healed": heals.healed,
        "not_healed": heals.not_healed,
        "mean_s": heals.mean_s,
        "longest_s": heals.longest_s,
        "causes": dict(heals.causes),
        "last": event_json(heals.last) if heals.last else None,
    }


def _caption(heals: Heals) -> list[str]:
    if not (heals.healed or heals.not_healed):
        return []
    lines = [_counted(heals)]
    if heals.causes:
        causes = [f"{_CAUSES.get(one, one)}: {times}" for one, times in heals.causes.items()]
        lines.append(f"after {', '.join(causes)}")
    return lines


def _counted(heals: Heals) -> str:
    counted = f"healed {output.count(heals.healed, 'time')}"
    if heals.mean_s is not None and heals.longest_s is not None:
        counted += f", in {heals.mean_s:.1f} s on average and {heals.longest_s:.1f} s at most"
    if heals.not_healed:
        counted += f", and not healed {output.count(heals.not_healed, 'time')}"
    return counted


def _time(unix_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(unix_s))


def _what(event: Event) -> str:
    known = {kind.value: said for kind, said in _WORDS.items()}
    return known.get(event.kind, event.kind.replace("_", " "))


def _took(event: Event) -> str:
    return "" if event.seconds is None else f"{event.seconds:.1f} s"

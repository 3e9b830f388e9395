"""``pi-cluster events``: what happened to the pipeline, and when."""

import json
import re
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Never

import click

from pi_cluster.coordinator.records.event_reading import Event, EventReader, Reading, read_events
from pi_cluster.coordinator.records.events import EventLog
from pi_cluster.deploy.commands.options import cluster_option
from pi_cluster.deploy.screen import output
from pi_cluster.deploy.screen.event_view import event_json, event_line, event_table

_LATEST = 50
_LOOK_EVERY_S = 0.25
_AGO = re.compile(r"([0-9]{1,6})([smhd])")
_UNIT_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def _since(context: click.Context, option: click.Parameter, text: str | None) -> float:  # noqa: ARG001
    """The moment that was meant, as seconds since 1970."""
    if text is None:
        return 0.0
    if ago := _AGO.fullmatch(text):
        return time.time() - int(ago[1]) * _UNIT_S[ago[2]]
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        raise click.BadParameter(
            f"{text!r} is no time: write 90s, 15m, 2h or 7d, or a moment as 2026-11-27 or "
            "2026-11-27T18:40"
        ) from None


@click.command()
@click.option(
    "--since",
    "since_unix_s",
    metavar="TIME",
    callback=_since,
    help="Only those of the last 90s, 15m, 2h or 7d, or since 2026-11-27 or 2026-11-27T18:40.",
)
@click.option(
    "--last",
    type=click.IntRange(0),
    metavar="N",
    help=f"No more than the N latest.  [default: {_LATEST}, or all with --since and --json]",
)
@click.option("--follow", is_flag=True, help="Go on with those that come, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each event.")
@cluster_option
def events(
    since_unix_s: float, last: int | None, follow: bool, as_json: bool, cluster: str
) -> None:
    """Show what happened to the pipeline, and when.

    That is whatever commands and servers of this user on this machine have seen: the pipeline
    brought up and down, nodes lost and back, and how it was healed.
    """
    log = EventLog(cluster)
    most = _LATEST if last is None and not (since_unix_s or as_json) else last
    if follow:
        _follow(log, since_unix_s, most, as_json)
    reading = read_events(log)
    shown = _latest(reading.events, since_unix_s, most)
    if as_json:
        _print(shown, as_json)
    elif shown:
        output.answers.print(event_table(shown))
    else:
        when = " in that time" if reading.events else " yet"
        output.note(f"nothing has happened in cluster {cluster!r}{when}, as far as this user knows")
    _tell_skipped(log, reading)


def _follow(log: EventLog, since_unix_s: float, most: int | None, as_json: bool) -> Never:
    """Print what is kept, and what comes, until Ctrl-C."""
    with EventReader(log) as reader:
        reading = reader.read()
        _print(_latest(reading.events, since_unix_s, most), as_json)
        while True:
            _tell_skipped(log, reading)
            time.sleep(_LOOK_EVERY_S)
            reading = reader.read()
            _print(reading.events, as_json)


def _latest(events: Sequence[Event], since_unix_s: float, most: int | None) -> Sequence[Event]:
    meant = [event for event in events if event.unix_s >= since_unix_s]
    return meant if most is None else meant[max(0, len(meant) - most) :]


def _print(events: Sequence[Event], as_json: bool) -> None:
    for event in events:
        click.echo(json.dumps(event_json(event)) if as_json else event_line(event))


def _tell_skipped(log: EventLog, reading: Reading) -> None:
    if reading.skipped:
        lines = output.count(reading.skipped, "line")
        output.notes.print(
            f"warning: {lines} skipped that tell of no event, in {log.path} or {log.older_path}: "
            "a power cut, a full disk or an editor may have torn them",
            markup=False,
            soft_wrap=True,
        )

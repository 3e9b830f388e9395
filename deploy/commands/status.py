"""``pi-cluster status``: the pipeline, and how its nodes are."""

import contextlib
import json
import select
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import click
from rich.console import Group
from rich.live import Live
from rich.text import Text

from pi_cluster.cluster.errors import StateError
from pi_cluster.cluster.wire.dialing import Dialer
from pi_cluster.coordinator.pipeline.watching import PipelineWatch, StageLook
from pi_cluster.coordinator.records.heals import HealsSeen
from pi_cluster.coordinator.records.kept_record import load_record
from pi_cluster.coordinator.records.pipeline_record import PipelineRecord
from pi_cluster.deploy.asking.server_look import look_at_server
from pi_cluster.deploy.calling import dialer_to_ask
from pi_cluster.deploy.commands.options import cluster_option
from pi_cluster.deploy.known_local_workers import why_ended
from pi_cluster.deploy.screen import output
from pi_cluster.deploy.screen.copies_view import copies_json, copies_line, lacking_line
from pi_cluster.deploy.screen.draft_view import draft_line
from pi_cluster.deploy.screen.event_view import heals_json, heals_line
from pi_cluster.deploy.screen.status_view import (
    pipeline_rate,
    status_json,
    status_line,
    status_table,
    troubles,
)
from pi_cluster.deploy.way_out import way_out

_RATE_S = 0.5  # between the two looks that a rate takes
_WATCH_TIMEOUT_S = 2.0  # a node that does not answer may not hold up the others for longer


@click.command()
@click.option("--watch", is_flag=True, help="Go on until Ctrl-C.")
@click.option(
    "--interval",
    type=click.FloatRange(0.1, 3600),
    default=1.0,
    show_default=True,
    help="Seconds from one look to the next.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object; one for each look.")
@cluster_option
@click.pass_context
def status(
    context: click.Context, watch: bool, interval: float, as_json: bool, cluster: str
) -> None:
    """Show the pipeline and how its nodes are. Exit code 1 when one is not well."""
    record = load_record(cluster)
    dialer = dialer_to_ask(cluster, record)
    if watch:
        _watch(cluster, record, dialer, interval, as_json)
        return
    with PipelineWatch(dialer, partial(why_ended, cluster)) as watching:
        looks = watching.look(record)
        if any(look.coordinator for look in looks):
            time.sleep(_RATE_S)
            looks = watching.look(record)
    with HealsSeen(cluster, output.warn_of) as heals:
        healed = heals.now()
    if as_json:
        server = look_at_server(cluster)
        values = {"server": asdict(server) if server else None, "heals": heals_json(healed)}
        click.echo(json.dumps(_values(cluster, record, looks) | values))
    else:
        output.answers.print(status_table(looks))
        if line := copies_line(record.copies, record.manifest.n_layers):
            output.answers.print(line, markup=False, soft_wrap=True)
        if line := lacking_line(record):
            output.answers.print(line, markup=False, soft_wrap=True)
        server = look_at_server(cluster)
        if record.draft:
            line = draft_line(record.draft, server.guesses if server else {})
            output.answers.print(line, markup=False, soft_wrap=True)
        if server:
            output.answers.print(str(server), markup=False, soft_wrap=True)
        if line := heals_line(healed, time.time()):
            output.answers.print(line, markup=False, soft_wrap=True)
        for line in troubles(looks, way_out(cluster, record, looks)):
            output.notes.print(line, markup=False, soft_wrap=True)
    if not all(look.is_well for look in looks):
        context.exit(1)


def _watch(
    cluster: str, record: PipelineRecord, dialer: Dialer, interval_s: float, as_json: bool
) -> None:
    """Show look after look until Ctrl-C, which ends the command as it ends any other."""
    is_live = output.answers.is_screen and not as_json
    with (
        _interrupts_wait() as interrupts,
        PipelineWatch(dialer, partial(why_ended, cluster), _WATCH_TIMEOUT_S) as watching,
        HealsSeen(cluster, output.warn_of) as heals,
        _live() if is_live else contextlib.nullcontext() as live,
    ):
        for _ in _ticks(interval_s, interrupts):
            record = _latest(cluster, record)
            looks = watching.look(record)
            to_do = way_out(cluster, record, looks)
            if live is not None:
                healed = heals_line(heals.now(), time.time())
                below = Text("\n".join([*filter(None, [healed]), *troubles(looks, to_do)]))
                live.update(Group(status_table(looks), below), refresh=True)
            elif as_json:
                values = {"unix_s": time.time()} | _values(cluster, record, looks)
                click.echo(json.dumps(values | {"heals": heals_json(heals.now())}))
            else:
                click.echo(f"{time.strftime('%H:%M:%S')} {status_line(looks, to_do)}")


def _live() -> Live:
    # What is higher than the screen scrolls; rich would leave out what is below.
    return Live(console=output.answers, auto_refresh=False, vertical_overflow="visible")


@contextlib.contextmanager
def _interrupts_wait() -> Iterator[socket.socket]:
    """Within the block Ctrl-C is only noticed by :func:`_ticks`, which it makes readable.

    It would otherwise, when it comes twice, break off what is closing connections after the first.
    """
    reader, writer = socket.socketpair()  # macOS cannot wait for a signal for a time
    with reader, writer:
        writer.setblocking(False)
        before = signal.signal(signal.SIGINT, lambda *_: _tell(writer))
        try:
            yield reader
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN if _waits(reader, 0) else before)


def _tell(writer: socket.socket) -> None:
    with contextlib.suppress(BlockingIOError):  # it has been told often enough
        writer.send(b"!")


def _waits(interrupts: socket.socket, timeout_s: float) -> bool:
    return bool(select.select([interrupts], [], [], timeout_s)[0])


def _ticks(interval_s: float, interrupts: socket.socket) -> Iterator[None]:
    """Now, and then at every interval; one that was missed is left out. Ends with Ctrl-C."""
    due = time.monotonic()
    while True:
        yield
        due = max(due + interval_s, time.monotonic())
        if _waits(interrupts, max(0.0, due - time.monotonic())):
            raise KeyboardInterrupt


def _latest(cluster: str, record: PipelineRecord) -> PipelineRecord:
    """The pipeline that is up now; the one before while another is being brought up."""
    try:
        return load_record(cluster)
    except StateError:
        return record


def _values(cluster: str, record: PipelineRecord, looks: Sequence[StageLook]) -> dict[str, Any]:
    return {
        "cluster": cluster,
        "epoch": record.epoch,
        "rows_ps": pipeline_rate(looks),
        "stages": status_json(looks),
        "standby": copies_json(record.copies, record.manifest.n_layers),
        "lacking_copies": len(record.lacking_copies),
        "draft": record.draft.to_json() if record.draft else None,
    }

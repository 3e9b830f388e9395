"""``pi-cluster bench``: tokens per second, and where the time goes."""

import time
from collections.abc import Sequence
from pathlib import Path

import click

from pi_cluster.cluster import settings
from pi_cluster.cluster.atomic_file import write_bytes
from pi_cluster.cluster.errors import PipelineBusy
from pi_cluster.cluster.wire.dialing import Dialer
from pi_cluster.coordinator.asking.hold import Hold
from pi_cluster.coordinator.bench.bench import (
    BenchOptions,
    BenchRun,
    check_room,
    planned_tests,
    run_bench,
)
from pi_cluster.coordinator.bench.chrome_trace import chrome_trace
from pi_cluster.coordinator.bench.gantt import gantt
from pi_cluster.coordinator.bench.rows import BenchRow, summarise
from pi_cluster.coordinator.patience import Patience
from pi_cluster.coordinator.records.kept_record import load_record
from pi_cluster.coordinator.records.pipeline_record import PipelineRecord
from pi_cluster.coordinator.scheduling.scheduler import SchedulerSettings
from pi_cluster.coordinator.scheduling.sent_steps import StepRecord
from pi_cluster.deploy.asking.exclusive import server_held
from pi_cluster.deploy.calling import dialer_to_ask
from pi_cluster.deploy.commands.generation_options import draft_option
from pi_cluster.deploy.commands.options import cluster_option, wait_option
from pi_cluster.deploy.drafting.in_use import DraftsHere
from pi_cluster.deploy.leading_out import leading_out
from pi_cluster.deploy.screen.bench_table import (
    print_csv,
    print_for_people,
    print_json,
    print_markdown,
)
from pi_cluster.deploy.screen.output import notes, notice

_PRINTERS = {"md": print_markdown, "json": print_json, "csv": print_csv}


def _users(_context: click.Context, _option: click.Parameter, value: str) -> tuple[int, ...]:
    words = value.split(",")
    if not all(word.isascii() and word.isdigit() and int(word) for word in words):
        raise click.BadParameter(f"{value!r} is not a list of numbers from 1 on, as in 1,2,4,8")
    return tuple(map(int, words))


def _trace_file(
    _context: click.Context, _option: click.Parameter, path: Path | None
) -> Path | None:
    if path and path.suffix not in (".json", ".svg"):
        raise click.BadParameter(f"'{path}' ends neither in .json (Perfetto) nor in .svg")
    if path and not path.parent.is_dir():
        raise click.BadParameter(f"there is no folder '{path.parent}'")
    return path


@click.command()
@click.option("--prompt-tokens", type=click.IntRange(1), default=512, show_default=True)
@click.option("--gen-tokens", type=click.IntRange(1), default=128, show_default=True)
@click.option(
    "--users",
    callback=_users,
    default="1",
    metavar="N,...",
    show_default=True,
    help="For each number, that many texts begun together; 1 alone measures prefill and decode.",
)
@click.option(
    "--depth",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Positions that each text holds before anything is measured.",
)
@click.option("--repeat", type=click.IntRange(1), default=5, show_default=True)
@click.option(
    "--chunk-size",
    type=click.IntRange(1, settings.MAX_STEP_ROWS),
    help="Prompt tokens in one step.  [default: what suits the pipeline]",
)
@click.option(
    "--format",
    "style",
    type=click.Choice(list(_PRINTERS)),
    help="[default: md, or tables that fit where the screen is too narrow for it]",
)
@click.option(
    "--trace",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=_trace_file,
    metavar="FILE",
    help="Write who worked when: .json of all runs for Perfetto, or .svg, a picture of the last.",
)
@draft_option
@wait_option
@cluster_option
@leading_out
def bench(
    prompt_tokens: int,
    gen_tokens: int,
    users: tuple[int, ...],
    depth: int,
    repeat: int,
    chunk_size: int | None,
    style: str | None,
    trace: Path | None,
    draft: str,
    wait_s: float,
    cluster: str,
) -> None:
    """Measure tokens per second, and where the time goes.

    That is prefill and decode of the pipeline that is up, or several users at once. A server that
    runs here has its clients wait meanwhile. What a hop takes is known of steps that travel alone;
    guesses that follow them hide it, so that it may need `--draft off`.
    """
    record = load_record(cluster)
    options = BenchOptions(
        prompt_tokens, gen_tokens, repeat, chunk_size, draft == "on", users, depth
    )
    check_room(planned_tests(options), record.model, record.cache_limits)
    with server_held(cluster, wait_s):
        rows, runs = _measure_in_turn(record, options, dialer_to_ask(cluster, record), wait_s)
    show = _PRINTERS[style] if style else print_for_people
    show(rows)
    if trace:
        _write_trace(trace, runs, record)


def _measure_in_turn(
    record: PipelineRecord, options: BenchOptions, dialer: Dialer, wait_s: float
) -> tuple[list[BenchRow], list[BenchRun]]:
    patience = Patience(wait_s, on_notice=notice)
    while True:
        try:
            return _measure(record, options, dialer)
        except PipelineBusy as busy:  # nothing has been measured yet
            time.sleep(patience.after(busy))


def _measure(
    record: PipelineRecord, options: BenchOptions, dialer: Dialer
) -> tuple[list[BenchRow], list[BenchRun]]:
    steps = list[StepRecord]()
    shared = SchedulerSettings(reuse_prefixes=options.depth > 0)
    models = DraftsHere(notice)
    with (
        notes.status("bench") as line,
        Hold(record, dialer, notice, shared, draft_models=models) as hold,
    ):
        scheduler = hold.take()
        scheduler.on_step.add(steps.append)
        tests = list(run_bench(scheduler, steps, record.model, options, line.update))
    rows = [summarise(runs, record.addresses) for runs in tests]
    return rows, [run for runs in tests for run in runs]


def _write_trace(path: Path, runs: Sequence[BenchRun], record: PipelineRecord) -> None:
    if path.suffix == ".svg":
        text = gantt(runs[-1], record.addresses)
    else:
        text = chrome_trace(runs, record.addresses)
    write_bytes(path, text.encode())
    notes.print(f"wrote {path}", markup=False, soft_wrap=True)

"""``pi-cluster bench``: tokens per second, and where the time goes."""

import csv
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

import click

from cluster import settings
from coordinator.bench import BenchOptions, BenchRow, Spread, run_bench
from coordinator.pipeline import Session
from coordinator.scheduler import Scheduler, SchedulerSettings
from deploy.commands.options import cluster_option, draft_option
from deploy.record import load_record
from deploy.screen import notes
from transformer.errors import PromptError


@click.command()
@click.option("--prompt-tokens", type=click.IntRange(1), default=512, show_default=True)
@click.option("--gen-tokens", type=click.IntRange(1), default=128, show_default=True)
@click.option("--repeat", type=click.IntRange(1), default=5, show_default=True)
@click.option(
    "--chunk-size",
    type=click.IntRange(1, settings.MAX_STEP_ROWS),
    help="Prompt tokens in one step.  [default: what suits the pipeline]",
)
@click.option(
    "--format", "style", type=click.Choice(["md", "json", "csv"]), default="md", show_default=True
)
@draft_option
@cluster_option
def bench(
    prompt_tokens: int,
    gen_tokens: int,
    repeat: int,
    chunk_size: int | None,
    style: str,
    draft: str,
    cluster: str,
) -> None:
    """Measure prefill and decode of the pipeline that is up."""
    record = load_record(cluster)
    model = record.model
    longest = max(prompt_tokens, gen_tokens + 1)
    if model.context is not None and longest + 1 > model.context:
        raise PromptError(
            f"{longest} tokens do not fit into the pipeline's context of {model.context}: measure "
            "fewer, or run `pi-cluster up` with a larger --context"
        )
    options = BenchOptions(prompt_tokens, gen_tokens, repeat, chunk_size, draft == "on")
    # Else the second run of a prompt would find most of it in the caches.
    apart = SchedulerSettings(reuse_prefixes=False)
    with (
        notes.status("bench") as line,
        Session(record.addresses, record.epoch, model.vocab_size) as session,
        Scheduler(session, model, record.cache_limits, apart) as scheduler,
    ):
        rows = run_bench(scheduler, record.addresses, model, options, line.update)
    {"md": _print_markdown, "json": _print_json, "csv": _print_csv}[style](rows)


def _print_markdown(rows: Sequence[BenchRow]) -> None:
    click.echo("| test | tokens/s | TTFT ms | hop ms |\n| --- | ---: | ---: | ---: |")
    for row in rows:
        hop = _spread(row.hop_ms, 3) if row.hop_ms else ""
        rate, ttft = _spread(row.tokens_per_second, 2), _spread(row.ttft_ms, 1)
        click.echo(f"| {row.test} | {rate} | {ttft} | {hop} |")
    click.echo("\n| test | node | layers | compute ms/token | wait ms/token |")
    click.echo("| --- | --- | --- | ---: | ---: |")
    for row in rows:
        for stage in row.stages:
            times = f"{stage.compute_ms:.3f} | {stage.wait_ms:.3f}"
            click.echo(f"| {row.test} | {stage.node} | {stage.layers} | {times} |")


def _spread(spread: Spread, digits: int) -> str:
    return f"{spread.mean:.{digits}f} ± {spread.deviation:.{digits}f}"


def _print_json(rows: Sequence[BenchRow]) -> None:
    click.echo(json.dumps([asdict(row) for row in rows], indent=1))


def _print_csv(rows: Sequence[BenchRow]) -> None:
    """One line for each test and stage; what belongs to the whole test stands in each."""
    out = csv.writer(sys.stdout)
    out.writerow(
        [
            *("test", "tokens_per_second", "tokens_per_second_deviation", "ttft_ms", "hop_ms"),
            *("node", "layers", "compute_ms_per_token", "wait_ms_per_token"),
        ]
    )
    for row in rows:
        rate, hop = row.tokens_per_second, row.hop_ms.mean if row.hop_ms else ""
        for stage in row.stages:
            out.writerow(
                [
                    *(row.test, rate.mean, rate.deviation, row.ttft_ms.mean, hop),
                    *(stage.node, stage.layers, stage.compute_ms, stage.wait_ms),
                ]
            )

"""What ``bench`` measured, as Markdown, JSON or CSV on standard output."""

import csv
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import click
from rich.cells import cell_len

from pi_cluster.cluster.shown import shown_line
from pi_cluster.coordinator.bench.rows import BenchRow, Percentiles, Spread
from pi_cluster.deploy.screen.column_widths import Column
from pi_cluster.deploy.screen.draft_view import share_right
from pi_cluster.deploy.screen.markdown import markdown_lines
from pi_cluster.deploy.screen.output import answers
from pi_cluster.deploy.screen.tables import FittedTable, names, numbers, whole


@dataclass(frozen=True, slots=True)
class _Table:
    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]


def print_for_people(rows: Sequence[BenchRow]) -> None:
    """As Markdown; where a screen is too narrow for that, as tables that fit it."""
    tables = _tables(rows)
    widest = max(cell_len(line) for table in tables for line in _markdown(table))
    if widest <= answers.width:
        print_markdown(rows)
        return
    for table in tables:
        answers.print(FittedTable(table.columns, table.rows))
    for line in _guesses(rows):
        answers.print(line, markup=False)


def print_markdown(rows: Sequence[BenchRow]) -> None:
    """A table of the tests and one of their stages."""
    tests, stages = _tables(rows)
    click.echo("\n".join([*_markdown(tests), "", *_markdown(stages)]))
    if lines := _guesses(rows):
        click.echo("\n".join(["", *lines]))


def print_json(rows: Sequence[BenchRow]) -> None:
    """A list with an object for each test; names as in `BenchRow`, ``busy`` from 0 to 1."""
    click.echo(json.dumps([asdict(row) for row in rows], indent=1))


def print_csv(rows: Sequence[BenchRow]) -> None:
    """One line for each test and stage; what belongs to the whole test stands in each."""
    out = csv.writer(sys.stdout)
    out.writerow(
        [
            *("test", "users", "tokens_per_second", "tokens_per_second_deviation"),
            *("user_tokens_per_second", "ttft_ms_p50", "ttft_ms_p95", "itl_ms_p50", "itl_ms_p95"),
            *("hop_ms", "node", "layers", "compute_ms_per_token", "wait_ms_per_token", "busy"),
        ]
    )
    for row in rows:
        rate, ttft, itl = row.tokens_per_second, row.ttft_ms, row.itl_ms
        for stage in row.stages:
            out.writerow(
                [
                    *(row.test, row.users, rate.mean, rate.deviation),
                    *(row.user_tokens_per_second.mean, ttft.p50, ttft.p95),
                    *((itl.p50, itl.p95) if itl else ("", "")),
                    row.hop_ms.mean if row.hop_ms else "",
                    *(
                        shown_line(stage.node),
                        stage.layers,
                        stage.compute_ms,
                        stage.wait_ms,
                        stage.busy,
                    ),
                ]
            )


def _tables(rows: Sequence[BenchRow]) -> tuple[_Table, _Table]:
    """One of the tests, and one of their stages."""
    tests = [
        (
            *(row.test, str(row.users)),
            *(_spread(row.tokens_per_second, 2), _spread(row.user_tokens_per_second, 2)),
            *(_percentiles(row.ttft_ms, 1), _percentiles(row.itl_ms, 2)),
            _spread(row.hop_ms, 3),
        )
        for row in rows
    ]
    stages = [
        (
            *(row.test, str(row.users), stage.node, stage.layers),
            *(f"{stage.compute_ms:.3f}", f"{stage.wait_ms:.3f}", f"{100 * stage.busy:.0f} %"),
        )
        for row in rows
        for stage in row.stages
    ]
    measured = (
        *("users", "tokens/s", "tokens/s a user"),
        *("TTFT ms p50 / p95", "ITL ms p50 / p95", "hop ms"),
    )
    where = [whole("test"), whole("users"), names("node"), whole("layers")]
    spent = ("compute ms/token", "wait ms/token", "busy")
    return (
        _Table([whole("test"), *map(numbers, measured)], tests),
        _Table([*where, *map(numbers, spent)], stages),
    )


def _guesses(rows: Sequence[BenchRow]) -> list[str]:
    return [
        f"{row.test}: by {name}, {share_right(*counted)}"
        for row in rows
        for name, counted in row.guesses.items()
    ]


def _markdown(table: _Table) -> list[str]:
    return markdown_lines(table.columns, table.rows)


def _spread(spread: Spread | None, digits: int) -> str:
    return f"{spread.mean:.{digits}f} ± {spread.deviation:.{digits}f}" if spread else ""


def _percentiles(values: Percentiles | None, digits: int) -> str:
    return f"{values.p50:.{digits}f} / {values.p95:.{digits}f}" if values else ""

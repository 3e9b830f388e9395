"""What ``eval`` found, as a table, Markdown or JSON on standard output."""

import json
from collections.abc import Iterator
from dataclasses import asdict

import click

from pi_cluster.coordinator.evaluating.figures import Distance, Estimate, Quality
from pi_cluster.deploy.screen.markdown import markdown_lines
from pi_cluster.deploy.screen.output import answers, count
from pi_cluster.deploy.screen.tables import FittedTable, numbers, whole

_COLUMNS = (whole("measure"), numbers("value"), numbers("standard error"))
_Row = tuple[str, str, str]


def print_for_people(quality: Quality) -> None:
    """A table that fits the screen, and of what it is."""
    answers.print(FittedTable(_COLUMNS, list(_rows(quality)), caption=[_of_what(quality)]))


def print_markdown(quality: Quality) -> None:
    """The same in Markdown."""
    click.echo("\n".join([*markdown_lines(_COLUMNS, list(_rows(quality))), "", _of_what(quality)]))


def print_json(quality: Quality) -> None:
    """One object; names as in `Quality`, ``against`` null without a reference."""
    click.echo(json.dumps(asdict(quality), indent=1))


def _of_what(quality: Quality) -> str:
    tokens, passages = count(quality.tokens, "token"), count(quality.passages, "passage")
    return f"{tokens} scored, in {passages} of {quality.context}"


def _rows(quality: Quality) -> Iterator[_Row]:
    yield _row("perplexity", quality.perplexity, 4)
    if quality.against:
        yield from _rows_against(quality.against)


def _rows_against(found: Distance) -> Iterator[_Row]:
    yield _row("the reference's perplexity", found.perplexity, 4)
    yield _row("perplexity : the reference's", found.perplexity_ratio, 5)
    yield _row("KL divergence, mean, nats", found.divergence, 6)
    for name, value in (
        ("median", found.divergence_median),
        ("90 %", found.divergence_p90),
        ("99 %", found.divergence_p99),
        ("maximum", found.divergence_max),
    ):
        yield f"KL divergence, {name}", f"{value:.6f}", ""
    share = Estimate(100 * found.same_top.value, 100 * found.same_top.standard_error)
    yield _row("same likeliest token, %", share, 2)


def _row(name: str, estimate: Estimate, digits: int) -> _Row:
    return name, f"{estimate.value:.{digits}f}", f"{estimate.standard_error:.{digits}f}"

"""``pi-cluster prompt``: one question, one answer."""

import contextlib
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from pi_cluster.coordinator.asking.answer import Answer
from pi_cluster.deploy.asking.choice import asker_of, nodes_asker
from pi_cluster.deploy.asking.figures import print_timings
from pi_cluster.deploy.commands.generation_options import (
    generation_options,
    stop_option,
    think_option,
)
from pi_cluster.deploy.commands.options import (
    NEWEST,
    cluster_option,
    direct_option,
    give_up_after_option,
    heal_timeout_option,
    journal_option,
    refuse_beside_resume,
    resume_option,
    wait_option,
)
from pi_cluster.deploy.leading_out import leading_out
from pi_cluster.deploy.screen.output import INTERRUPTED, stream
from pi_cluster.transformer.errors import PromptError

if TYPE_CHECKING:
    from pi_cluster.coordinator.asking.question import AskKeywords, Prompt

_MAX_PROMPT_BYTES = 16 << 20
_BESIDE_RESUME = {
    *("as_json", "verbose", "wait_s", "heal_timeout_s", "give_up_after_s", "direct", "cluster"),
}


@click.command()
@click.argument("text", required=False)
@generation_options
@stop_option
@think_option
@click.option("--raw", is_flag=True, help="Continue the text itself, without a chat template.")
@click.option("--ids", metavar="1,5,7", help="Token ids instead of text.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
@click.option("--verbose", is_flag=True, help="End with durations and rates.")
@wait_option
@heal_timeout_option
@give_up_after_option
@direct_option
@journal_option
@resume_option
@cluster_option
@click.pass_context
@leading_out
def prompt(
    context: click.Context,
    text: str | None,
    keywords: "AskKeywords",
    stop: tuple[str, ...],
    think: bool | None,
    raw: bool,
    ids: str | None,
    as_json: bool,
    verbose: bool,
    wait_s: float,
    heal_timeout_s: float,
    give_up_after_s: float,
    direct: bool,
    keeps_journal: bool,
    resume: str | None,
    cluster: str,
) -> None:
    """Ask the model.

    A server of this user is asked where one runs here, or the one that PI_CLUSTER_URL names.

    TEXT "-" reads standard input, in UTF-8: a byte order mark and the last newline are taken off,
    and CRLF is read as LF.
    """
    limits = (wait_s, heal_timeout_s, give_up_after_s)
    show = None if as_json else stream
    if resume is not None:
        refuse_beside_resume(context, _BESIDE_RESUME)
        with contextlib.closing(nodes_asker(cluster, *limits, journal_as=None)) as nodes:
            name = None if resume == NEWEST else resume
            answered, _ = nodes.resume(nodes.take_up(name, "prompt"), show)
        _tell(context, answered, as_json, verbose)
        return
    if (text is None) == (ids is None):
        raise click.UsageError('give either TEXT ("-" reads standard input) or --ids')
    asked: Prompt
    if ids is not None:
        asked, raw = _parse_ids(ids), False
    else:
        asked = _read_standard_input() if text == "-" else text or ""
    keywords |= {"raw": raw, "think": think, "stop": stop}
    journal_as = "prompt" if keeps_journal else None
    asker = asker_of(cluster, *limits, directly=direct, journal_as=journal_as)
    with contextlib.closing(asker):
        answered, _ = asker.answer(asked, keywords, show)
    _tell(context, answered, as_json, verbose)


def _tell(context: click.Context, answered: Answer, as_json: bool, verbose: bool) -> None:
    if as_json:
        click.echo(json.dumps(_to_json(answered), ensure_ascii=False))
    else:
        stream((",".join(map(str, answered.ids)) if answered.text is None else "") + "\n")
    if verbose:
        print_timings(answered)
    if answered.was_interrupted:
        context.exit(INTERRUPTED)


def _read_standard_input() -> str:
    data = sys.stdin.buffer.read(_MAX_PROMPT_BYTES + 1)
    if len(data) > _MAX_PROMPT_BYTES:
        raise PromptError(f"standard input has more than {_MAX_PROMPT_BYTES} bytes")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise PromptError(
            f"standard input is not UTF-8 at byte {error.start}: convert it first"
        ) from None
    # What editors and shells put around a text is no part of what is asked.
    return text.removeprefix("\ufeff").replace("\r\n", "\n").removesuffix("\n")


def _parse_ids(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")] if text.strip() else []
    except ValueError:
        raise PromptError(
            f"--ids takes whole numbers and commas, as in 1,5,7; not {text!r}"
        ) from None


def _to_json(answered: Answer) -> dict[str, Any]:
    return {
        "text": answered.text,
        "prompt_ids": answered.prompt_ids,
        "ids": answered.ids,
        "finish_reason": answered.finish_reason,
        "timings": answered.timings.to_json(),
        "stages": [asdict(stage) for stage in answered.stages],
    }

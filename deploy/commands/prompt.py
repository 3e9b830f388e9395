"""``pi-cluster prompt``: one question, one answer."""

import json
import sys
from functools import partial
from typing import Any

import click

from pi_cluster.coordinator.generation import GenerationOptions
from pi_cluster.coordinator.records.pipeline_record import load_record
from pi_cluster.coordinator.text_model import TextModel
from pi_cluster.deploy.answering import Answered, Pipeline, Question, answer, print_timings
from pi_cluster.deploy.calling import dialer_to_ask
from pi_cluster.deploy.commands.generation_options import generation_options, stop_option
from pi_cluster.deploy.commands.options import cluster_option, wait_option
from pi_cluster.deploy.leading_out import leading_out
from pi_cluster.deploy.screen.output import INTERRUPTED, note, notes, stream
from pi_cluster.transformer.errors import PromptError

_MAX_PROMPT_BYTES = 16 << 20


@click.command()
@click.argument("text", required=False)
@generation_options
@stop_option
@click.option("--raw", is_flag=True, help="Continue the text itself, without a chat template.")
@click.option("--ids", metavar="1,5,7", help="Token ids instead of text.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
@click.option("--verbose", is_flag=True, help="End with durations and rates.")
@wait_option
@cluster_option
@click.pass_context
@leading_out
def prompt(
    context: click.Context,
    text: str | None,
    options: GenerationOptions,
    stop: tuple[str, ...],
    raw: bool,
    ids: str | None,
    as_json: bool,
    verbose: bool,
    wait_s: float,
    cluster: str,
) -> None:
    """Ask the model.

    TEXT "-" reads standard input, in UTF-8: a byte order mark and the last newline are taken off,
    and CRLF is read as LF.
    """
    if (text is None) == (ids is None):
        raise click.UsageError('give either TEXT ("-" reads standard input) or --ids')
    record = load_record(cluster)
    model = record.text_model()
    if ids is not None:
        prompt_ids, raw = _parse_ids(ids), True
        if model.fault:
            note(f"{model.fault}; the answer comes as ids")
    else:
        prompt_ids, raw = _encode(model, text or "", raw)
    question = Question(prompt_ids, options, partial(model.answer, stop, raw=raw))
    question.new_text()  # a stop string that this model cannot have is refused before asking
    digest = record.manifest.digest
    with Pipeline(dialer_to_ask(cluster, record), cluster, digest, wait_s) as pipeline:
        answered = answer(pipeline, question, None if as_json else stream)
    if as_json:
        click.echo(json.dumps(_to_json(answered), ensure_ascii=False))
    else:
        stream(("" if model.has_tokenizer else ",".join(map(str, answered.generation.ids))) + "\n")
    if verbose:
        print_timings(answered)
    if answered.was_interrupted:
        context.exit(INTERRUPTED)


def _encode(model: TextModel, text: str, raw: bool) -> tuple[list[int], bool]:
    """Ids of a question, and whether its answer continues the text rather than replies to it."""
    asked = _read_standard_input() if text == "-" else text
    if not asked:
        raise PromptError("the prompt is empty: give it at least one character")
    if not raw and model.has_tokenizer and not model.has_chat_template:
        notes.print("this model has no chat template: continuing the text as it is")
        raw = True
    if raw:
        return model.raw_ids(asked), True
    return model.chat_ids([{"role": "user", "content": asked}]), False


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


def _to_json(answered: Answered) -> dict[str, Any]:
    generation = answered.generation
    return {
        "text": answered.text,
        "prompt_ids": generation.prompt_ids,
        "ids": generation.ids,
        "finish_reason": generation.finish_reason,
        "timings": generation.timings.to_json(),
        "stages": generation.measurement.stages_json(),
    }

"""``pi-cluster eval``: how well the model that is up does on a text."""

from contextlib import ExitStack
from pathlib import Path

import click

from pi_cluster.coordinator.client import PipelineClient
from pi_cluster.coordinator.evaluating.divergence import Reference
from pi_cluster.coordinator.evaluating.evaluation import evaluate
from pi_cluster.coordinator.evaluating.passages import LEAST_TOKENS
from pi_cluster.coordinator.patience import END_OR_WAIT_LONGER
from pi_cluster.coordinator.records.kept_record import load_record
from pi_cluster.deploy.asking.exclusive import server_held
from pi_cluster.deploy.calling import dialer_to_ask
from pi_cluster.deploy.commands.options import (
    cluster_option,
    give_up_after_option,
    heal_timeout_option,
    wait_option,
)
from pi_cluster.deploy.evaluating.given_text import given_text
from pi_cluster.deploy.evaluating.local_model import local_model
from pi_cluster.deploy.evaluating.preparing import EvaluatedText, check_reference, evaluated_text
from pi_cluster.deploy.leading_out import leading_out
from pi_cluster.deploy.models.model_source import find_source
from pi_cluster.deploy.models.sound_store import sound_store
from pi_cluster.deploy.screen.output import counting, notice
from pi_cluster.deploy.screen.quality_table import print_for_people, print_json, print_markdown

_PRINTERS = {"text": print_for_people, "md": print_markdown, "json": print_json}


@click.command("eval")
@click.argument("text", type=click.Path(path_type=Path))
@click.option(
    "--against",
    metavar="STORE",
    help="Compare with this store's model, which this machine computes.",
)
@click.option(
    "--context",
    type=click.IntRange(LEAST_TOKENS),
    default=512,
    show_default=True,
    help="Tokens of each passage; the second half of them is scored.",
)
@click.option(
    "--chunks", type=click.IntRange(1), metavar="N", help="Read the first N passages alone."
)
@click.option(
    "--format", "style", type=click.Choice(list(_PRINTERS)), default="text", show_default=True
)
@wait_option
@heal_timeout_option
@give_up_after_option
@cluster_option
@leading_out
def evaluate_model(
    text: Path,
    against: str | None,
    context: int,
    chunks: int | None,
    style: str,
    wait_s: float,
    heal_timeout_s: float,
    give_up_after_s: float,
    cluster: str,
) -> None:
    """Measure how well the model does on a text.

    That is the perplexity of the pipeline that is up, in passages as llama.cpp's perplexity tool
    reads them. TEXT is a file in UTF-8; "-" reads standard input. With --against, it is also how
    far the model is from another store of it, f16 for instance. A server that runs here has its
    clients wait meanwhile.
    """
    record = load_record(cluster)
    read = evaluated_text(record, given_text(text), context, chunks)
    with ExitStack() as stack:
        reference = _reference(stack, against, read, record.model.vocab_size) if against else None
        stack.enter_context(server_held(cluster, wait_s))
        client = PipelineClient(
            *(record, dialer_to_ask(cluster, record), wait_s, notice, END_OR_WAIT_LONGER),
            heal_timeout_s=heal_timeout_s,
            give_up_after_s=give_up_after_s,
        )
        stack.enter_context(client)
        tell = stack.enter_context(counting("passages", len(read.passages)))
        quality = evaluate(client, read.passages, reference, tell)
    _PRINTERS[style](quality)


def _reference(stack: ExitStack, against: str, read: EvaluatedText, vocab_size: int) -> Reference:
    """The model of the store that is compared with, until the stack ends."""
    source = find_source(against)
    check_reference(source.made_store(), read, vocab_size)
    return stack.enter_context(local_model(sound_store(source), len(read.passages[0].ids)))

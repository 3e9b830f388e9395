"""``pi-cluster shard``."""

from pathlib import Path

import click

from pi_cluster.cluster.advice import line
from pi_cluster.deploy.commands.options import outer_weights_option, weights_option
from pi_cluster.deploy.models.sharding import importance_source, shard_with_a_bar, told
from pi_cluster.deploy.screen import output
from pi_cluster.shard_tool.importance.calibration import MOST_TOKENS, TOKENS
from pi_cluster.transformer.formats import WeightFormats


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The store to write.")
@weights_option
@outer_weights_option
@click.option(
    "--imatrix",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Let columns count in q4 and q4n as this importance file of llama.cpp says.",
)
@click.option(
    "--calibrate",
    type=click.Path(path_type=Path),
    metavar="TEXT",
    help="Let columns count as they do when the model reads this text; takes a while.",
)
@click.option(
    "--calibration-tokens",
    type=click.IntRange(1, MOST_TOKENS),
    default=TOKENS,
    show_default=True,
    metavar="N",
    help="How much of the text --calibrate reads.",
)
def shard(
    checkpoint: Path,
    out: Path,
    weights: str,
    outer_weights: str | None,
    imatrix: Path | None,
    calibrate: Path | None,
    calibration_tokens: int,
) -> None:
    """Cut a checkpoint into a store: one file per layer.

    CHECKPOINT is a folder of Hugging Face (config.json, *.safetensors) or of Mistral (params.json,
    consolidated.safetensors), or a GGUF file, of several parts any one. What is quantised in a GGUF
    keeps its values, whatever --weights says. Interrupted, the same command goes on where it
    stopped.
    """
    if imatrix is not None and calibrate is not None:
        raise click.UsageError("--imatrix and --calibrate both say how columns count: give one")
    weighing = importance_source(imatrix, calibrate, calibration_tokens)
    formats = WeightFormats.choose(weights, outer_weights)
    manifest = shard_with_a_bar(checkpoint, out, formats, weighing)
    output.notes.print(
        f"{out}: {told(manifest)}. Next: {line('up', str(out))}", markup=False, soft_wrap=True
    )

"""``pi-cluster shard``."""

from pathlib import Path

import click

from pi_cluster.cluster.advice import line
from pi_cluster.deploy.commands.options import outer_weights_option, weights_option
from pi_cluster.deploy.models.sharding import shard_with_a_bar, told
from pi_cluster.deploy.screen import output
from pi_cluster.transformer.formats import WeightFormats


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The store to write.")
@weights_option
@outer_weights_option
def shard(checkpoint: Path, out: Path, weights: str, outer_weights: str | None) -> None:
    """Cut a checkpoint into a store: one file per layer.

    CHECKPOINT is a folder of Hugging Face (config.json, *.safetensors) or of Mistral (params.json,
    consolidated.safetensors). Interrupted, the same command goes on where it stopped.
    """
    manifest = shard_with_a_bar(checkpoint, out, WeightFormats.choose(weights, outer_weights))
    output.notes.print(
        f"{out}: {told(manifest)}. Next: {line('up', str(out))}", markup=False, soft_wrap=True
    )

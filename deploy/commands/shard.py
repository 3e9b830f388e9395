"""``pi-cluster shard``."""

from pathlib import Path

import click

from pi_cluster.cluster import settings
from pi_cluster.cluster.advice import line
from pi_cluster.cluster.store.manifest import WEIGHTS, Manifest
from pi_cluster.deploy.screen import output
from pi_cluster.kernels import NumpyPacker, packer
from pi_cluster.shard_tool.convert import shard as shard_checkpoint
from pi_cluster.transformer.formats import WeightFormats


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The store to write.")
@click.option("--weights", type=click.Choice(WEIGHTS), default="q4", show_default=True)
@click.option(
    "--outer-weights",
    type=click.Choice(WEIGHTS),
    metavar="FORMAT",
    help="One of these for embedding and head.  [default: q8 with q4, else as the layers]",
)
def shard(checkpoint: Path, out: Path, weights: str, outer_weights: str | None) -> None:
    """Cut a checkpoint into a store: one file per layer.

    CHECKPOINT is a folder of Hugging Face (config.json, *.safetensors) or of Mistral (params.json,
    consolidated.safetensors). Interrupted, the same command goes on where it stopped.
    """
    formats = WeightFormats.choose(weights, outer_weights)
    with output.bars() as progress, packer(settings.kernel_variant()) as packing:
        if isinstance(packing, NumpyPacker):
            output.note("no compiled kernels here: packing takes some twenty times as long")
        bar = output.FileBar(progress)
        manifest = shard_checkpoint(checkpoint, out, formats, packing, bar, output.note)
    if kept := _kept_in_f16(manifest):
        output.notes.print(
            f"kept in f16, their columns are not a multiple of 32: {', '.join(kept)}",
            soft_wrap=True,
        )
    output.notes.print(
        f"{out}: {manifest.n_layers} layers, {output.size(manifest.size_bytes)} in "
        f"{len(manifest.files)} files, {weights}. Next: {line('up', str(out))}",
        soft_wrap=True,
    )


def _kept_in_f16(manifest: Manifest) -> list[str]:
    """Names of the matrices whose columns do not fit the blocks that were asked for."""
    formats = manifest.formats
    assert formats is not None, "a store that was just written"
    outer = {**formats.embedding, **formats.head}
    asked = [(of, manifest.weights) for of in formats.layers] + [(outer, manifest.outer_weights)]
    kept = [n for of, weights in asked for n, form in of.items() if form == "f16" != weights]
    return list(dict.fromkeys(kept))

"""``pi-cluster shard`` and ``pi-cluster verify``."""

from pathlib import Path

import click

from cluster.errors import StoreError
from cluster.manifest import WEIGHTS
from cluster.store import Store
from deploy import screen
from shard_tool.convert import shard as shard_checkpoint


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The store to write.")
@click.option("--weights", type=click.Choice(WEIGHTS), default="f16", show_default=True)
def shard(checkpoint: Path, out: Path, weights: str) -> None:
    """Cut a checkpoint into a store: one file per layer.

    CHECKPOINT is a folder of Hugging Face (config.json, *.safetensors) or of Mistral (params.json,
    consolidated.safetensors). Interrupted, the same command goes on where it stopped.
    """
    with screen.bars() as progress:
        manifest = shard_checkpoint(checkpoint, out, weights, screen.FileBar(progress))
    screen.notes.print(
        f"{out}: {manifest.n_layers} layers, {screen.size(manifest.size_bytes)} in "
        f"{len(manifest.files)} files, {weights}. Next: pi-cluster up {out}",
        soft_wrap=True,
    )


@click.command()
@click.argument("store", type=click.Path(path_type=Path))
def verify(store: Path) -> None:
    """Compare every file of a store with its manifest, and name those that are damaged."""
    with screen.bars() as progress:
        opened = Store(store)
        damage = opened.verify(screen.FileBar(progress))
    if damage:
        raise StoreError("\n".join([f"{store} is damaged:", *(f"  {one}" for one in damage)]))
    screen.notes.print(f"{store}: all {len(opened.manifest.files)} files are as written")

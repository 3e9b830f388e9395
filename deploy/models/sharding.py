"""Cutting a checkpoint into a store, as people see it: a bar, and what is worth knowing."""

from pathlib import Path

from pi_cluster.cluster import settings
from pi_cluster.cluster.store.manifest import Manifest
from pi_cluster.cluster.store.store import Store
from pi_cluster.deploy.screen import output
from pi_cluster.kernels import NumpyPacker, packer
from pi_cluster.shard_tool.convert import shard
from pi_cluster.shard_tool.journal import SOURCE_NAME, read_origin
from pi_cluster.shard_tool.origin import Origin
from pi_cluster.transformer.formats import WeightFormats


def shard_with_a_bar(
    checkpoint: Path, out: Path, formats: WeightFormats, origin: Origin | None = None
) -> Manifest:
    """Make the store, or go on with it; raises what ``shard_tool.convert.shard`` does."""
    with output.bars() as progress, packer(settings.kernel_variant()) as packing:
        if isinstance(packing, NumpyPacker):
            output.note("no compiled kernels here: packing takes some twenty times as long")
        bar = output.FileBar(progress)
        manifest = shard(checkpoint, out, formats, packing, bar, output.note, origin)
    if kept := _kept_in_f16(manifest):
        output.notes.print(
            f"kept in f16, their columns are not a multiple of 32: {', '.join(kept)}",
            soft_wrap=True,
        )
    return manifest


def told(manifest: Manifest) -> str:
    """A store in a few words."""
    formats = " and ".join(manifest.formats_of_matrices)
    return (
        f"{output.count(manifest.n_layers, 'layer')}, {output.size(manifest.size_bytes)} in "
        f"{len(manifest.files)} files, {formats}"
    )


def told_making(store: Store) -> list[str]:
    """How a store was made, a line each."""
    formats = " and ".join(store.manifest.formats_of_matrices)
    lines = [f"layers in {formats}, embedding and head in {store.manifest.outer_weights}"]
    origin = read_origin(store.path)
    if origin is None:
        return [*lines, f"it does not say what it was made from: it has no {SOURCE_NAME} that does"]
    commit = f", commit {origin.commit}" if origin.commit else ""
    lines.append(f"made from {origin.checkpoint}{commit}")
    if used := origin.calibration:
        of = "the importance matrix" if used.is_imatrix else "the text"
        lines.append(f"weighted by {of} {used.file} ({used.tokens} tokens, SHA-256 {used.sha256})")
    return lines


def _kept_in_f16(manifest: Manifest) -> list[str]:
    """Names of the matrices whose columns do not fit the blocks that were asked for."""
    formats = manifest.formats
    assert formats is not None, "a store that was just written"
    outer = {**formats.embedding, **formats.head}
    asked = [(of, manifest.weights) for of in formats.layers] + [(outer, manifest.outer_weights)]
    kept = [n for of, weights in asked for n, form in of.items() if form == "f16" != weights]
    return list(dict.fromkeys(kept))

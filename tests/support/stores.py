"""Stores for the tests, made in one short call."""

from collections.abc import Iterable
from pathlib import Path

from pi_cluster.cluster.store.manifest import Manifest
from pi_cluster.cluster.store.store import Progress
from pi_cluster.shard_tool import convert
from pi_cluster.shard_tool.importance.importance import ImportanceSource
from pi_cluster.transformer.formats import WeightFormats
from tests.support.kernel_engines import EVERY_VARIANT, engine


def shard(
    checkpoint: Path,
    out: Path,
    weights: str = "f32",
    outer_weights: str | None = None,
    on_progress: Progress | None = None,
    on_note: convert.OnNote | None = None,
    weighing: ImportanceSource | None = None,
) -> Manifest:
    """``shard_tool.convert.shard`` by the names of the formats, on the engine of all tests."""
    formats = WeightFormats.choose(weights, outer_weights)
    packing = engine(EVERY_VARIANT[0])
    return convert.shard(checkpoint, out, formats, packing, on_progress, on_note, weighing)


def beside_text(notes: Iterable[str]) -> list[str]:
    """Notes without that on the tokenizer, which most checkpoints of tests do without."""
    lacking = ("has no tokenizer.model", "has no tokenizer inside")
    return [note for note in notes if not any(words in note for words in lacking)]


def notes_of(checkpoint: Path, out: Path) -> list[str]:
    """What is told of a checkpoint while it is sharded, beside its text."""
    notes: list[str] = []
    shard(checkpoint, out, on_note=notes.append)
    return beside_text(notes)

"""Which copies stand by where, as people and programs see them."""

from collections.abc import Iterable
from typing import Any

from pi_cluster.cluster.advice import command
from pi_cluster.coordinator.planning.healing_plan import EMBEDDING
from pi_cluster.coordinator.planning.standby import Copies
from pi_cluster.coordinator.records.pipeline_record import PipelineRecord


def copies_line(copies: Iterable[Copies], n_layers: int) -> str:
    """Such as ``standing by: pi1 for 4:8, pi2 for embedding, 0:4``; empty where none do."""
    each = [f"{one.name} for {_shown(one.layers, n_layers)}" for one in copies]
    return f"standing by: {'; '.join(each)}" if each else ""


def lacking_line(record: PipelineRecord) -> str:
    """That shards lie on fewer disks than was asked for, and what helps; empty where none do."""
    lacking = len(record.lacking_copies)
    if not lacking:
        return ""
    every = record.manifest.n_layers + 2
    again = command(record.folder.name, "up")
    return (
        f"copies missing: {lacking} of {every} shards lie on fewer than {record.replicas} disks; "
        f"a program that stays, as `serve` does, makes them while nobody asks, `{again}` at once"
    )


def copies_json(copies: Iterable[Copies], n_layers: int) -> list[dict[str, Any]]:
    """An object for each node."""
    return [
        {
            "node": one.name,
            "node_id": one.node_id,
            "embedding": EMBEDDING in one.layers,
            "layers": [layer for layer in one.layers if 0 <= layer < n_layers],
            "head": n_layers in one.layers,
        }
        for one in copies
    ]


def _shown(layers: Iterable[int], n_layers: int) -> str:
    """Layers as ranges, with the embedding and the head by name."""
    parts: list[str] = []
    ranges: list[list[int]] = []
    for layer in sorted(layers):
        if layer == EMBEDDING:
            parts.append("embedding")
        elif layer < n_layers and ranges and ranges[-1][1] == layer:
            ranges[-1][1] += 1
        elif layer < n_layers:
            ranges.append([layer, layer + 1])
    parts += [f"{start}:{stop}" for start, stop in ranges]
    return ", ".join([*parts, *(["head"] if n_layers in layers else [])])

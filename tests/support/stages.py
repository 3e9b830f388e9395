"""Running stages one after another, as a pipeline does."""

from collections.abc import Sequence

import numpy as np

from pi_cluster.transformer.stage import Chunk, Stage


def run_step(
    stages: Sequence[Stage], chunks: Sequence[Chunk], ids: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Hidden states and logits of one step's rows."""
    hidden = stages[0].embed(ids)
    for stage in stages:
        hidden = stage.forward(chunks, hidden)
    return hidden, stages[-1].logits(hidden)


def run_prompt(
    stages: Sequence[Stage], ids: np.ndarray, chunk_size: int, sequence: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Hidden states and logits of a prompt that comes in chunks."""
    steps = []
    for start in range(0, len(ids), chunk_size):
        part = ids[start : start + chunk_size]
        steps.append(run_step(stages, [Chunk(sequence, start, len(part))], part))
    hidden, logits = zip(*steps, strict=True)
    return np.concatenate(hidden), np.concatenate(logits)


def tensors_of_layer(weights: dict[str, np.ndarray], layer: int) -> dict[str, np.ndarray]:
    """One layer's tensors by their names within its shard file."""
    prefix = f"layers.{layer}."
    return {n.removeprefix(prefix): w for n, w in weights.items() if n.startswith(prefix)}

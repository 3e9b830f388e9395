"""Our side: the layers of a stage from their mapped files."""

import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.kernels import layer_files as files
from pi_cluster.kernels import Engine, Layers, LayerShape, LayerWeights, Matrix, Part
from pi_cluster.transformer.rope import rope_angles

Array = NDArray[np.float32]

WINDOW = 4096  # what the peer's context holds
LARGEST_STEP = 512
SHAPE = LayerShape(
    dim=files.DIM,
    hidden_dim=files.HIDDEN_DIM,
    n_heads=files.N_HEADS,
    n_kv_heads=files.N_KV_HEADS,
    head_dim=files.HEAD_DIM,
    norm_eps=files.NORM_EPS,
    window=WINDOW,
    capacity=WINDOW + LARGEST_STEP,
)


def open_stage(engine: Engine, folder: Path) -> Layers:
    """Map the files and make them a stage, as a worker does: nothing is read yet."""
    ones = np.ones(files.DIM, np.float32)
    weights: list[LayerWeights] = [
        {
            "attention_norm": ones,
            "ffn_norm": ones,
            **{
                name: Matrix("q4", *files.MATRICES[name], data)
                for name, data in files.map_layer(folder, layer).items()
            },
        }
        for layer in range(files.N_LAYERS)
    ]
    return Layers(engine, [SHAPE] * files.N_LAYERS, weights, max_rows=LARGEST_STEP)


def random_rows(rows: int) -> Array:
    """The hidden states that the peer makes for as many rows."""
    return np.random.default_rng(rows).standard_normal((rows, files.DIM), np.float32)


class Text:
    """One text over a stage."""

    def __init__(self, stage: Layers, length: int = 0) -> None:
        self._stage = stage
        self.cache = stage.new_cache()
        if length:
            self._fill(length)

    def step(self, rows: int, position: int) -> tuple[float, Array]:
        """Run ``rows`` rows from ``position`` on: the seconds, and the hidden states."""
        self.cache.truncate(position)
        hidden = random_rows(rows)
        positions = np.arange(position, position + rows)
        start = time.perf_counter()
        angles = rope_angles(positions, files.HEAD_DIM, files.ROPE_THETA)
        out = self._stage.forward(hidden, {0: angles}, [Part(self.cache, rows)])
        return time.perf_counter() - start, out

    def _fill(self, length: int) -> None:
        """Store random keys and values: what they are changes no step's time."""
        width = files.N_KV_HEADS * files.HEAD_DIM
        generator = np.random.default_rng(length)
        for layer in range(files.N_LAYERS):
            keys, values = generator.standard_normal((2, length, width), np.float32)
            self._stage.engine.store(self.cache, layer, keys, values)
        self.cache.advance(length)

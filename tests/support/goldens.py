"""The goldens of ``tests/parity/goldens``, cut into stores and run through stages."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pi_cluster.cluster.store.tensor_file import TensorFile
from pi_cluster.transformer.arithmetic import Array
from pi_cluster.transformer.config import ModelConfig
from pi_cluster.transformer.config_form import read_config
from pi_cluster.transformer.limits import Limits
from pi_cluster.transformer.numpy_arithmetic import StageWeights, numpy_stage
from pi_cluster.transformer.shapes import embedding_shapes, head_shapes, layer_shapes
from pi_cluster.transformer.stage import Chunk, Stage
from tests.support.stores import shard

GOLDENS = Path(__file__).parents[1] / "parity" / "goldens"
CASES = sorted(path.parent.name for path in GOLDENS.glob("*/reference.npz"))
TOLERANCE = 2e-5

Golden = Mapping[str, NDArray[Any]]


def load_golden(path: Path) -> Golden:
    with np.load(path) as arrays:
        return dict(arrays)


def load_file(store: Path, name: str, shapes: Mapping[str, Any]) -> dict[str, Array]:
    with TensorFile(store / name) as file:
        return {tensor: file.read_rows(tensor, 0, shape[0]) for tensor, shape in shapes.items()}


def limits_of(max_step_rows: int) -> Limits:
    """Room for one text."""
    return Limits(max_step_rows=max_step_rows, max_sequences=1, context=512, cache_positions=1024)


def load_stages(store: Path, config: ModelConfig, max_step_rows: int, size: int) -> list[Stage]:
    """The whole model as stages of ``size`` layers, computed in numpy."""
    layers = [
        load_file(store, f"layer-{number:02d}.safetensors", layer_shapes(layer, config.dim))
        for number, layer in enumerate(config.layers)
    ]
    embedding = load_file(store, "embedding.safetensors", embedding_shapes(config))
    head = load_file(store, "head.safetensors", head_shapes(config))
    limits = limits_of(max_step_rows)
    return [
        numpy_stage(
            config,
            range(start, start + size),
            StageWeights(layers[start : start + size], embedding, head),
            limits,
        )
        for start in range(0, config.n_layers, size)
    ]


def run_stages(stages: Sequence[Stage], ids: NDArray[Any], start: int = 0) -> list[Array]:
    """Hidden states on entering each stage and on leaving the last one."""
    hidden = [stages[0].embed(ids)]
    for stage in stages:
        hidden.append(stage.forward([Chunk(0, start, len(ids))], hidden[-1]))
    return hidden


def logits_in_chunks(model: Stage, ids: NDArray[Any], rows: int) -> Array:
    chunks = [
        model.logits(run_stages([model], ids[start : start + rows], start)[-1])
        for start in range(0, len(ids), rows)
    ]
    return np.concatenate(chunks)


def greedy(model: Stage, ids: NDArray[Any], count: int) -> list[int]:
    """``count`` new ids, each the best one, from a prompt in chunks of 7."""
    logits = logits_in_chunks(model, ids, 7)
    chosen: list[int] = []
    for position in range(len(ids), len(ids) + count):
        chosen.append(int(logits[-1].argmax()))
        logits = model.logits(run_stages([model], np.array(chosen[-1:]), position)[-1])
    return chosen


def assert_close(computed: Array, expected: NDArray[Any]) -> None:
    assert computed.shape == expected.shape
    error, largest = np.abs(computed - expected).max(), np.abs(expected).max()
    assert error <= TOLERANCE * largest, f"off by {error:.1e} where values reach {largest:.1f}"


class ShardedGolden:
    """A golden checkpoint as a store of float32 weights."""

    def __init__(self, name: str, folder: Path) -> None:
        self.reference = load_golden(GOLDENS / name / "reference.npz")
        self.ids = self.reference["ids"]
        self.folder = folder / name
        self.manifest = shard(GOLDENS / name, self.folder, weights="f32")
        self.n_layers: int = self.manifest.n_layers
        self.config = read_config(self.manifest.config)

    def model(self, max_step_rows: int) -> Stage:
        """All layers as one stage."""
        return load_stages(self.folder, self.config, max_step_rows, self.n_layers)[0]

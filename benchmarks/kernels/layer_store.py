"""The benchmark's layers as a store that workers accept: safetensors files and a manifest."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.kernels import layer_files as files
from benchmarks.kernels.stage import WINDOW
from cluster.atomic_file import write_bytes
from cluster.manifest import EMBEDDING_NAME, HEAD_NAME, Manifest, ShardFile, layer_file_name
from cluster.store import MANIFEST_NAME, Store
from cluster.tensor_file import TensorSource, write_tensor_file
from transformer.config import ModelConfig
from transformer.formats import stored_as, tensor_format
from transformer.shapes import Shapes, embedding_shapes, head_shapes, layer_shapes

WEIGHTS = "q4"
MIDDLE = range(1, 1 + files.N_LAYERS)
"""The layers of the stage that is measured; one more at either end makes it a middle stage."""

CONFIG = ModelConfig(
    dim=files.DIM,
    n_layers=files.N_LAYERS + 2,
    n_heads=files.N_HEADS,
    n_kv_heads=files.N_KV_HEADS,
    head_dim=files.HEAD_DIM,
    hidden_dim=files.HIDDEN_DIM,
    vocab_size=1024,  # embedding and head are at the ends, which are not measured
    norm_eps=files.NORM_EPS,
    rope_theta=files.ROPE_THETA,
    window=WINDOW,
    max_positions=32_768,
)


def write_store(folder: Path, layers_folder: Path) -> Store:
    """Write ``write_layers``'s files as a store. The layers at the ends are two of them again."""
    folder.mkdir()
    written = [
        _write(folder / EMBEDDING_NAME, _random(embedding_shapes(CONFIG))),
        _write(folder / HEAD_NAME, _random(head_shapes(CONFIG))),
        *(_write(folder / layer_file_name(i), _layer(layers_folder, i - 1)) for i in MIDDLE),
    ]
    for end, same in ((0, MIDDLE[0]), (CONFIG.n_layers - 1, MIDDLE[-1])):
        os.link(folder / layer_file_name(same), folder / layer_file_name(end))
        twin = next(file for file in written if file.name == layer_file_name(same))
        written.append(ShardFile(layer_file_name(end), twin.size_bytes, twin.sha256))
    manifest = Manifest(WEIGHTS, WEIGHTS, CONFIG.to_dict(), 1, (2,), tuple(written))
    write_bytes(folder / MANIFEST_NAME, manifest.to_json().encode())
    return Store(folder)


def _write(path: Path, tensors: Iterator[TensorSource]) -> ShardFile:
    written = write_tensor_file(path, list(tensors))
    return ShardFile(path.name, written.size_bytes, written.sha256)


def _layer(folder: Path, layer: int) -> Iterator[TensorSource]:
    mapped = files.map_layer(folder, layer)
    for name, shape in layer_shapes(CONFIG).items():
        yield _source(name, shape, mapped.get(name.split(".")[-2]))


def _random(shapes: Shapes) -> Iterator[TensorSource]:
    for name, shape in shapes.items():
        yield _source(name, shape, files.random_q4(*shape, seed=0) if len(shape) == 2 else None)


def _source(name: str, shape: tuple[int, ...], packed: files.Bytes | None) -> TensorSource:
    """A packed matrix, or a gain of ones."""
    dtype, stored_shape = stored_as(shape, tensor_format(shape, WEIGHTS))
    block = np.ones(shape, np.float32) if packed is None else packed
    return TensorSource(name, dtype, stored_shape, [block])

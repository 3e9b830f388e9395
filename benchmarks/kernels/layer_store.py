"""The benchmark's layers as a store that workers accept: safetensors files and a manifest."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.kernels import layer_files as files
from benchmarks.kernels.stage import WINDOW
from benchmarks.virtual.mistral import CONFIG as MISTRAL
from pi_cluster.cluster.atomic_file import write_bytes
from pi_cluster.cluster.store.manifest import (
    EMBEDDING_NAME,
    HEAD_NAME,
    Manifest,
    ShardFile,
    layer_file_name,
)
from pi_cluster.cluster.store.store import MANIFEST_NAME, Store
from pi_cluster.cluster.store.tensor_writing import TensorSource, write_tensor_file
from pi_cluster.transformer.config_form import plain_config
from pi_cluster.transformer.formats import stored_as, tensor_format
from pi_cluster.transformer.shapes import Shapes, embedding_shapes, head_shapes, layer_shapes

WEIGHTS = "q4"
MIDDLE = range(1, 1 + files.N_LAYERS)
"""The layers of the stage that is measured; one more at either end makes it a middle stage."""

CONFIG = replace(
    MISTRAL,
    layers=(replace(MISTRAL.layers[0], window=WINDOW),) * (files.N_LAYERS + 2),
    vocab_size=1024,  # embedding and head are at the ends, which are not measured
)


_AS_MIDDLE = (0, *range(files.N_LAYERS), files.N_LAYERS - 1)


def write_store(folder: Path, layers_folder: Path, layers: Sequence[int] = _AS_MIDDLE) -> Store:
    """Write ``write_layers``'s files as a store, whose layers are ``layers`` of them in this order.

    Without ``layers`` there is one more at either end, a copy of its neighbour.
    """
    folder.mkdir()
    written = [
        _write(folder / EMBEDDING_NAME, _random(embedding_shapes(CONFIG))),
        _write(folder / HEAD_NAME, _random(head_shapes(CONFIG))),
    ]
    twins: dict[int, ShardFile] = {}
    for name, layer in zip(map(layer_file_name, range(len(layers))), layers, strict=True):
        if layer in twins:
            os.link(folder / twins[layer].name, folder / name)
            written.append(replace(twins[layer], name=name))
        else:
            twins[layer] = _write(folder / name, _layer(layers_folder, layer))
            written.append(twins[layer])
    config = replace(CONFIG, layers=CONFIG.layers[:1] * len(layers))
    manifest = Manifest(WEIGHTS, WEIGHTS, plain_config(config), 1, (2,), tuple(written))
    write_bytes(folder / MANIFEST_NAME, manifest.to_json().encode())
    return Store(folder)


def _write(path: Path, tensors: Iterator[TensorSource]) -> ShardFile:
    written = write_tensor_file(path, list(tensors))
    return ShardFile(path.name, written.size_bytes, written.sha256)


def _layer(folder: Path, layer: int) -> Iterator[TensorSource]:
    mapped = files.map_layer(folder, layer)
    for name, shape in layer_shapes(CONFIG.layers[0], CONFIG.dim).items():
        yield _source(name, shape, mapped.get(name.split(".")[-2]))


def _random(shapes: Shapes) -> Iterator[TensorSource]:
    for name, shape in shapes.items():
        yield _source(name, shape, files.random_q4(*shape, seed=0) if len(shape) == 2 else None)


def _source(name: str, shape: tuple[int, ...], packed: files.Bytes | None) -> TensorSource:
    """A packed matrix, or a gain of ones."""
    dtype, stored_shape = stored_as(shape, tensor_format(shape, WEIGHTS))
    block = np.ones(shape, np.float32) if packed is None else packed
    return TensorSource(name, dtype, stored_shape, [block])

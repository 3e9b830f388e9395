"""The files of a store: which tensors each holds, how large it becomes, and the writing of one."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cluster.atomic_file import AtomicFile
from cluster.errors import CheckpointError
from cluster.manifest import (
    EMBEDDING_NAME,
    HEAD_NAME,
    ShardFile,
    layer_file_name,
    stored_dtype,
)
from cluster.tensor_file import TensorSource, file_size_bytes, write_tensor_file
from shard_tool.checkpoint import Checkpoint
from shard_tool.names import layer_tensor, short_name
from shard_tool.source_files import SourceTensor
from transformer.shapes import embedding_shapes, head_shapes, layer_shapes

_FLOAT16_LIMIT = 65_520.0  # from here on, rounding to nearest gives infinity

OnBytes = Callable[[int], None]
"""Told how many more bytes of the file are on disk."""


def planned_sizes(checkpoint: Checkpoint, weights: str) -> dict[str, int]:
    """Bytes of every file of the store to be, in the order in which they are written."""
    sizes = {name: path.stat().st_size for name, path in checkpoint.tokenizer_files.items()}
    for file_name in _tensors_of_files(checkpoint):
        sizes[file_name] = file_size_bytes(_sources(checkpoint, file_name, weights, _ignore))
    return sizes


def write_shard(
    checkpoint: Checkpoint, folder: Path, file_name: str, weights: str, on_bytes: OnBytes
) -> ShardFile:
    """Write one file of the store.

    Raises ``CheckpointError`` for a weight that ``weights`` cannot hold, ``StoreError`` if the
    file cannot be written.
    """
    path = folder / file_name
    if file_name in checkpoint.tokenizer_files:
        return _copy(checkpoint.tokenizer_files[file_name], path, on_bytes)
    written = write_tensor_file(path, _sources(checkpoint, file_name, weights, on_bytes))
    return ShardFile(file_name, written.size_bytes, written.sha256)


def _tensors_of_files(checkpoint: Checkpoint) -> dict[str, list[str]]:
    config = checkpoint.config
    layers = {
        layer_file_name(layer): [layer_tensor(layer, short) for short in layer_shapes(config)]
        for layer in range(config.n_layers)
    }
    return {
        EMBEDDING_NAME: list(embedding_shapes(config)),
        **layers,
        HEAD_NAME: list(head_shapes(config)),
    }


def _sources(
    checkpoint: Checkpoint, file_name: str, weights: str, on_bytes: OnBytes
) -> list[TensorSource]:
    sources = []
    for name in _tensors_of_files(checkpoint)[file_name]:
        tensor = checkpoint.tensors[name]
        dtype = stored_dtype(tensor.shape, weights)
        blocks = _converted(tensor, dtype, on_bytes)
        sources.append(TensorSource(short_name(name), dtype, tensor.shape, blocks))
    return sources


def _converted(tensor: SourceTensor, dtype: str, on_bytes: OnBytes) -> Iterator[NDArray[Any]]:
    for block in tensor.row_blocks():
        # NaN survives min and max, so two numbers tell of every value without a copy.
        low, high = float(block.min()), float(block.max())
        if not np.isfinite([low, high]).all():
            raise CheckpointError(
                f"tensor {tensor.name!r} of {tensor.file.path} holds a value that is not a "
                "finite number. Fetch the file again"
            )
        if dtype == "F16" and max(-low, high) >= _FLOAT16_LIMIT:
            raise CheckpointError(
                f"tensor {tensor.name!r} of {tensor.file.path} holds {max(low, high, key=abs):g}, "
                "which float16 cannot: use `--weights f32`"
            )
        converted = block.astype(np.float16) if dtype == "F16" else block
        yield converted
        on_bytes(converted.nbytes)


def _copy(source: Path, path: Path, on_bytes: OnBytes) -> ShardFile:
    try:
        data = memoryview(source.read_bytes())
    except OSError as error:
        raise CheckpointError(f"cannot read {source}: {error.strerror}") from error
    with AtomicFile(path) as file:
        file.write(data)
        on_bytes(len(data))
    return ShardFile(path.name, file.size_bytes, file.sha256)


def _ignore(count: int) -> None:
    del count

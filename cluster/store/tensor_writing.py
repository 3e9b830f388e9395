"""Safetensors files, to be written: ready to be mapped, every tensor where vectors can be loaded.

The format aligns nothing and forbids gaps, so that tensors of padding fill them.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pi_cluster.cluster.atomic_file import AtomicFile
from pi_cluster.cluster.store.tensor_file import (
    ALIGNMENT,
    NUMPY_DTYPES,
    PADDING_PREFIX,
    size_bytes,
)


@dataclass(frozen=True, slots=True)
class TensorSource:
    """One tensor to be written, as blocks of whole rows that come in order.

    ``dtype`` is the format's name for it (``"F32"``, ``"F16"``, ``"U8"``, ...); each block has
    the matching numpy dtype.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    blocks: Iterable[NDArray[Any]]

    @property
    def size_bytes(self) -> int:
        """Bytes of the whole tensor."""
        return size_bytes(self.dtype, self.shape)


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """What ``write_tensor_file`` has put on disk."""

    size_bytes: int
    sha256: str


def file_size_bytes(tensors: Sequence[TensorSource]) -> int:
    """Bytes of the file that ``write_tensor_file`` would make of these tensors."""
    header, data_bytes = _layout(tensors)
    return len(header) + data_bytes


def write_tensor_file(path: Path, tensors: Sequence[TensorSource]) -> WrittenFile:
    """Write a safetensors file in which every tensor begins at a multiple of 64 bytes.

    Holds one block in memory at a time. The file appears under its name only when it is whole
    and synced. Raises ``StoreError`` naming the file if the disk is full or fails; nothing of
    it is left then.
    """
    header, _ = _layout(tensors)
    with AtomicFile(path) as file:
        file.write(header)
        for tensor in tensors:
            end = file.size_bytes + tensor.size_bytes
            for block in tensor.blocks:
                assert block.dtype == NUMPY_DTYPES[tensor.dtype], (tensor.name, block.dtype)
                file.write(np.ascontiguousarray(block).reshape(-1).view(np.uint8).data)
            assert file.size_bytes == end, f"the blocks of {tensor.name} do not make up its shape"
            file.write(bytes(-end % ALIGNMENT))
    return WrittenFile(file.size_bytes, file.sha256)


def _layout(tensors: Sequence[TensorSource]) -> tuple[bytes, int]:
    """Return everything up to the first tensor, and the bytes of all tensors with padding."""
    entries: dict[str, dict[str, Any]] = {}
    end = 0
    for number, tensor in enumerate(tensors):
        pieces = [(tensor.name, tensor.dtype, list(tensor.shape), tensor.size_bytes)]
        gap = -tensor.size_bytes % ALIGNMENT
        if gap:
            pieces.append((f"{PADDING_PREFIX}{number}", "U8", [gap], gap))
        for name, dtype, shape, size in pieces:
            assert name not in entries, name
            entries[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + size]}
            end += size
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % ALIGNMENT)
    return len(text).to_bytes(8, "little") + text, end

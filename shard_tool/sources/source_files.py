"""The files of a checkpoint, read with suspicion: bounded, plain names, every error a named one."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pi_cluster.cluster.errors import CheckpointError, StoreError
from pi_cluster.cluster.store.tensor_file import TensorFile
from pi_cluster.kernels import GROUP_ROWS
from pi_cluster.transformer.checkpoint_file import is_pointer, only_a_pointer, read_object
from pi_cluster.transformer.errors import ModelError

MAX_JSON_BYTES = 16_000_000
MAX_WEIGHT_FILES = 512  # each stays open, and a process may usually have 1024 files open
BLOCK_BYTES = 16 << 20
"""Float32 bytes of a row block; with its source and its conversion, twice that is in memory."""

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,200}")


@dataclass(frozen=True, slots=True)
class SourceTensor:
    """Where one tensor of the model comes from.

    ``head_dim`` is set where the rows are in Hugging Face's half-split rotary order.
    """

    file: TensorFile
    name: str
    shape: tuple[int, ...]
    head_dim: int | None = None

    def row_blocks(self) -> Iterator[NDArray[np.float32]]:
        """Read the tensor in order as float32 blocks of whole rows, rotary rows interleaved.

        Raises ``CheckpointError`` if the file cannot be read any more.
        """
        rows = self.shape[0]
        row_bytes = 4 * int(np.prod(self.shape[1:], dtype=np.int64))
        # Whole heads, to be put in order, and whole groups of rows, to be packed.
        unit = math.lcm(GROUP_ROWS, self.head_dim or 1)
        step = max(1, BLOCK_BYTES // row_bytes // unit) * unit
        for start in range(0, rows, step):
            try:
                block = self.file.read_rows(self.name, start, min(start + step, rows))
            except StoreError as error:
                raise CheckpointError(str(error)) from error
            yield interleave_rotary_rows(block, self.head_dim) if self.head_dim else block


def interleave_rotary_rows(rows: NDArray[np.float32], head_dim: int) -> NDArray[np.float32]:
    """Turn Hugging Face's row order of wq or wk into Mistral's.

    Within each head, Hugging Face rotates row ``j`` against row ``j + head_dim / 2``, Mistral row
    ``2j`` against ``2j + 1``. Shapes: ``(heads * head_dim, dim)`` -> the same.
    """
    halves = rows.reshape(-1, 2, head_dim // 2, rows.shape[1])
    return halves.transpose(0, 2, 1, 3).reshape(rows.shape)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object of bounded size; raises ``CheckpointError`` naming the file."""
    try:
        return read_object(path, MAX_JSON_BYTES)
    except ModelError as error:
        raise CheckpointError(str(error)) from error


def open_weights(path: Path) -> TensorFile:
    """Open one file of weights; raises ``CheckpointError`` if it is missing or torn."""
    try:
        if is_pointer(path):
            raise CheckpointError(only_a_pointer(path))
        return TensorFile(path)
    except OSError as error:
        raise CheckpointError(f"cannot open {path}: {error.strerror}. Fetch it") from error
    except StoreError as error:
        raise CheckpointError(f"{error}. Fetch it again") from error


def check_plain_names(names: set[Any], index: Path) -> None:
    """Refuse an index that points outside its folder, or at too many files."""
    for name in names:
        if not isinstance(name, str) or not _PLAIN_NAME.fullmatch(name):
            raise CheckpointError(f"{index} names a file {name!r}, which is no plain file name")
    if len(names) > MAX_WEIGHT_FILES:
        raise CheckpointError(
            f"{index} names {len(names)} files; at most {MAX_WEIGHT_FILES} are read"
        )

"""One tensor of a model in its source: read by blocks of rows, rotary rows put in order."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pi_cluster.cluster.errors import CheckpointError, StoreError
from pi_cluster.kernels import GROUP_ROWS
from pi_cluster.shard_tool.sources.reader import WeightFile

BLOCK_BYTES = 16 << 20
"""Float32 bytes of a row block; with its source and its conversion, twice that is in memory."""

_Scalar = TypeVar("_Scalar", bound=np.generic)


@dataclass(frozen=True, slots=True)
class HalfSplit:
    """Heads of ``head_dim`` rows, of which the first ``rotary_dim`` are in half-split order."""

    head_dim: int
    rotary_dim: int


@dataclass(frozen=True, slots=True)
class SourceTensor:
    """Where one tensor of the model comes from.

    ``half_split`` is set where the rows are in Hugging Face's rotary order.
    """

    file: WeightFile
    name: str
    shape: tuple[int, ...]
    half_split: HalfSplit | None = None

    def row_blocks(self) -> Iterator[NDArray[np.float32]]:
        """Read the tensor in order as float32 blocks of whole rows, rotary rows interleaved.

        Raises ``CheckpointError`` if the file cannot be read any more.
        """
        rows = self.shape[0]
        row_bytes = 4 * int(np.prod(self.shape[1:], dtype=np.int64))
        # Whole heads, to be put in order, and whole groups of rows, to be packed.
        unit = math.lcm(GROUP_ROWS, self.half_split.head_dim if self.half_split else 1)
        step = max(1, BLOCK_BYTES // row_bytes // unit) * unit
        for start in range(0, rows, step):
            try:
                block = self.file.read_rows(self.name, start, min(start + step, rows))
            except StoreError as error:
                raise CheckpointError(str(error)) from error
            yield interleave_rotary_rows(block, self.half_split) if self.half_split else block


def interleave_rotary_rows(rows: NDArray[_Scalar], order: HalfSplit) -> NDArray[_Scalar]:
    """Turn Hugging Face's row order into Mistral's, of matrices and of vectors.

    Within each head, Hugging Face rotates row ``j`` against row ``j + rotary_dim / 2``, Mistral row
    ``2j`` against ``2j + 1``. Shapes: ``(heads * head_dim, ...)`` -> the same.
    """
    half = order.rotary_dim // 2
    heads = rows.reshape(-1, order.head_dim, *rows.shape[1:])
    turned: NDArray[Any] = heads.copy()
    turned[:, 0 : order.rotary_dim : 2] = heads[:, :half]
    turned[:, 1 : order.rotary_dim : 2] = heads[:, half : order.rotary_dim]
    return turned.reshape(rows.shape)

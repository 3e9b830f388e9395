"""A tensor of a GGUF whose blocks a store keeps: laid out anew, with the same values."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from pi_cluster.cluster.errors import CheckpointError, StoreError
from pi_cluster.kernels import GROUP_ROWS, Matrix, ShapeError, packed_from_ggml
from pi_cluster.shard_tool.gguf.weight_file import GgufFile
from pi_cluster.shard_tool.sources.source_tensor import HalfSplit, interleave_rotary_rows

BLOCK_BYTES = 8 << 20
"""Bytes of a row block; with what it becomes, some four times that is in memory."""


@dataclass(frozen=True, slots=True)
class BlockTensor:
    """Where one matrix of the model comes from; ``half_split`` as of ``SourceTensor``."""

    file: GgufFile
    name: str
    shape: tuple[int, ...]
    half_split: HalfSplit | None = None

    def matrices(self) -> Iterator[Matrix]:
        """Read the tensor in order as matrices of whole rows, rotary rows interleaved.

        Raises ``CheckpointError`` for blocks that are no numbers, or cannot be read any more.
        """
        place, (rows, columns) = self.file.info(self.name), self.shape
        # Whole heads, to be put in order, and whole groups of rows, to be laid out.
        unit = math.lcm(GROUP_ROWS, self.half_split.head_dim if self.half_split else 1)
        step = max(1, BLOCK_BYTES // place.type.row_bytes(columns) // unit) * unit
        for start in range(0, rows, step):
            try:
                blocks = self.file.read_blocks(self.name, start, min(start + step, rows))
                if self.half_split:
                    blocks = interleave_rotary_rows(blocks, self.half_split)
                matrix = packed_from_ggml(place.dtype, blocks, columns)
            except StoreError as error:
                raise CheckpointError(str(error)) from error
            except ShapeError as error:
                raise CheckpointError(
                    f"tensor {self.name!r} of {self.file.path}: {error}. Fetch the file again"
                ) from None
            assert matrix.format == place.type.kept_as, (matrix.format, place.type)
            yield matrix

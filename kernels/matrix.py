"""Weight matrices as the kernels read them; ``src/formats.h`` describes every byte."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pi_cluster.kernels.errors import ShapeError
from pi_cluster.kernels.library import MatrixStruct

GROUP_ROWS = 16
BLOCK_COLUMNS = 32
_BLOCKS = {
    "q8": (32, 544),
    "q4": (32, 288),
    "q4_1": (32, 320),
    "q4k": (256, 2304),
    "q4n": (32, 288),
}
"""Columns of a block, and its bytes for a group of rows."""
_PLAIN_BYTES = {"f32": 4, "f16": 2}
_LARGEST_WEIGHT = {"q4": 65504.0 * 7, "q4n": 65504.0 * 113, "q8": 65504.0 * 127}
FORMATS = ("f32", "f16", "q8", "q4", "q4_1", "q4k", "q4n")
"""In the order of ``enum format``."""
PACKABLE_FORMATS = ("f32", "f16", "q8", "q4", "q4n")
"""Those that floats can be packed to; the others are made of ggml's blocks (``ggml_blocks``)."""
SEARCHED_FORMATS = ("q4", "q4n")
"""Those for whose scales packing searches, so that the importance of columns is of use."""

_MAX_SIDE = 2**28  # sizes are 32-bit numbers in C, with room for rounding up


def packed_bytes(format: str, rows: int, columns: int) -> int:
    """Bytes of a matrix. Raises ``ShapeError`` for a shape that the format cannot hold."""
    if format not in FORMATS:
        raise ShapeError(f"there is no weight format {format!r}; there are {', '.join(FORMATS)}")
    if not (0 < rows <= _MAX_SIDE and 0 < columns <= _MAX_SIDE):
        raise ShapeError(f"a matrix of {rows} x {columns} is not possible")
    if format in _PLAIN_BYTES:
        return rows * columns * _PLAIN_BYTES[format]
    block_columns, block_bytes = _BLOCKS[format]
    if columns % block_columns:
        raise ShapeError(
            f"{format} holds blocks of {block_columns} columns, and {columns} is not a multiple"
        )
    groups = -(-rows // GROUP_ROWS)
    return groups * (columns // block_columns) * block_bytes


@dataclass(frozen=True, slots=True)
class Matrix:
    """A matrix of ``rows`` outputs and ``columns`` inputs, as bytes that may be a mapped file.

    Valid from birth: ``data`` holds exactly the bytes that format and shape ask for, so what a
    file says about itself can never make a kernel read past its end.
    """

    format: str
    rows: int
    columns: int
    data: NDArray[np.uint8]

    def __post_init__(self) -> None:
        needed = packed_bytes(self.format, self.rows, self.columns)
        data = self.data
        if data.dtype != np.uint8 or data.ndim != 1 or not data.flags.c_contiguous:
            raise ShapeError("the bytes of a matrix must be one contiguous row of uint8")
        if data.nbytes != needed:
            raise ShapeError(
                f"a {self.format} matrix of {self.rows} x {self.columns} has {needed} bytes, "
                f"not {data.nbytes}"
            )
        alignment = _PLAIN_BYTES.get(self.format, 2)
        if data.ctypes.data % alignment:
            raise ShapeError(f"a {self.format} matrix must begin at a multiple of {alignment}")

    @property
    def is_quantised(self) -> bool:
        """Whether its products are those of rows rounded to int8."""
        return self.format not in _PLAIN_BYTES

    @classmethod
    def plain(cls, weights: NDArray[Any]) -> "Matrix":
        """View a float32 or float16 array ``(rows, columns)`` as a matrix, without a copy."""
        formats = {np.dtype(np.float32): "f32", np.dtype(np.float16): "f16"}
        if weights.ndim != 2 or weights.dtype not in formats or not weights.flags.c_contiguous:
            raise ShapeError(f"{weights.dtype} {weights.shape} is not a plain matrix")
        rows, columns = weights.shape
        return cls(formats[weights.dtype], rows, columns, weights.reshape(-1).view(np.uint8))

    def struct(self) -> MatrixStruct:
        """As C sees it; this object must outlive what is returned."""
        number = FORMATS.index(self.format)
        return MatrixStruct(self.data.ctypes.data, number, self.rows, self.columns)


def packable(weights: NDArray[Any], format: str) -> Matrix | NDArray[np.float32]:
    """Weights as a matrix of a plain format, or what a quantised one is made of.

    Shapes: ``weights (rows, columns)``, float32 or float16. Raises ``ShapeError`` for a shape or a
    value that the format cannot hold.
    """
    if weights.ndim != 2:
        raise ShapeError(f"weights are {weights.shape}, not (rows, columns)")
    rows, columns = weights.shape
    packed_bytes(format, rows, columns)
    if format not in PACKABLE_FORMATS:
        raise ShapeError(
            f"{format} is made of ggml's blocks alone; floats are packed to "
            f"{', '.join(PACKABLE_FORMATS)}"
        )
    if format == "f16":
        return Matrix.plain(np.ascontiguousarray(weights, np.float16))
    source = np.ascontiguousarray(weights, np.float32)
    if format == "f32":
        return Matrix.plain(source)
    peak = max(float(source.max()), -float(source.min()))
    if not peak <= _LARGEST_WEIGHT[format]:  # false for NaN, too
        raise ShapeError(f"{format} cannot hold a weight of {peak}")
    return source


def importance_within_blocks(
    importance: NDArray[np.float32] | None, columns: int
) -> NDArray[np.float32] | None:
    """The importance of each column as a part of the largest in its block, as the searches take it.

    All columns of a block in which none has any count alike. Shapes: ``(columns,)`` -> the same.
    Raises ``ShapeError`` for another shape, or a value that is negative or not finite.
    """
    if importance is None:
        return None
    if importance.dtype != np.float32 or importance.shape != (columns,):
        raise ShapeError(
            f"importance is {importance.dtype} {importance.shape}, not float32 ({columns},)"
        )
    if not (np.isfinite(importance).all() and (importance >= 0).all()):
        raise ShapeError("importance has a value that is negative or no finite number")
    blocks = importance.reshape(-1, BLOCK_COLUMNS)
    peaks = blocks.max(axis=1, keepdims=True)
    parts = np.where(peaks > 0, blocks / np.where(peaks > 0, peaks, 1), np.float32(1))
    return np.ascontiguousarray(parts.reshape(-1), np.float32)

"""Weights in ggml's own blocks, as GGUF files hold them, in the layout of the kernels: no loss.

A row of ggml's is one block after another, and a block starts with its scales. ``src/formats.h``
describes ours; what follows is byte for byte its inverse. Source of ggml's layouts: ggml's
``ggml-common.h``.

Q5_0 has five bits and no tile of its own: its levels, -16 to 15, are levels of q8 as well.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pi_cluster.kernels.errors import ShapeError
from pi_cluster.kernels.matrix import GROUP_ROWS, Matrix, packed_bytes

Bytes = NDArray[np.uint8]
Words = NDArray[np.uint32]
"""Four bytes of neighbouring columns each."""

_LOW, _HIGH = np.uint32(0x0F0F0F0F), np.uint32(0xF0F0F0F0)
_FOUR_BITS = np.uint32(4)
_OF_QUADS = np.arange(0, 32, 4, dtype=np.uint32)
_BITS_TO_BYTES = np.uint32(1 | 1 << 7 | 1 << 14 | 1 << 21)  # times four bits: bit i moves to 8 i
_ONES = np.uint32(0x01010101)
_NOT_FINITE = np.uint16(0x7C00)  # the exponent of infinities and NaNs
_AT_ONCE_BYTES = 1 << 18  # so that what is turned stays in the cache


def packed_from_ggml(ggml_type: str, blocks: Bytes, columns: int) -> Matrix:
    """The same values as a matrix of ``GGML_FORMATS[ggml_type]``.

    Shapes: ``blocks (rows, bytes of a row)``; ``columns`` is how many values a row has. Pieces of a
    matrix may be converted one by one if they are cut at a multiple of ``GROUP_ROWS`` rows: their
    bytes follow each other. Raises ``ShapeError`` for a type that has no format here, for rows that
    do not have the bytes of ``columns`` values, and for a scale or minimum that is infinite or not
    a number.
    """
    if ggml_type not in _TYPES:
        raise ShapeError(f"{ggml_type} is none of the types that are kept: {', '.join(_TYPES)}")
    kind = _TYPES[ggml_type]
    if blocks.dtype != np.uint8 or blocks.ndim != 2:
        raise ShapeError(f"blocks are {blocks.dtype} {blocks.shape}, not uint8 (rows, bytes)")
    rows, row_bytes = blocks.shape
    size = packed_bytes(kind.format, rows, columns)
    if columns % kind.columns or row_bytes != columns // kind.columns * kind.layout.itemsize:
        raise ShapeError(f"rows of {row_bytes} bytes do not hold {columns} values of {ggml_type}")

    out = np.zeros(size, np.uint8)
    n_blocks = columns // kind.columns
    groups = out.reshape(-1, n_blocks, size // (-(-rows // GROUP_ROWS) * n_blocks))
    source = np.ascontiguousarray(blocks).view(kind.layout)
    step = max(1, _AT_ONCE_BYTES // (GROUP_ROWS * row_bytes))
    for group in range(0, len(groups), step):
        start = group * GROUP_ROWS
        some = source[start : start + step * GROUP_ROWS]
        _check_halves(ggml_type, some["halves"], start)
        if missing := -len(some) % GROUP_ROWS:
            some = np.concatenate([some, np.zeros((missing, n_blocks), kind.layout)])
        turned = some.reshape(-1, GROUP_ROWS, n_blocks).transpose(0, 2, 1)
        kind.lay_out(turned, groups[group : group + step])
    return Matrix(kind.format, rows, columns, out)


def _check_halves(ggml_type: str, halves: NDArray[np.uint16], first_row: int) -> None:
    bad = (halves & _NOT_FINITE) == _NOT_FINITE
    if bad.any():
        row, block, *_ = np.argwhere(bad)[0]
        raise ShapeError(
            f"block {block} of row {first_row + row} of {ggml_type} has a scale that is infinite "
            "or not a number: the file is damaged, or was converted wrongly"
        )


# Below, ``blocks`` are ggml's, shape ``(groups, blocks, 16 rows)``, and ``out`` is theirs in our
# layout, ``(groups, blocks, bytes)``.


def _lay_out(blocks: NDArray[Any], words: Words, out: Bytes) -> None:
    """Scales of one column after another, then quads. ``words`` end with the words of a row."""
    halves = blocks["halves"]
    for i in range(halves.shape[-1]):
        _halves(out, i)[...] = halves[..., i]
    _quads(out, 2 * GROUP_ROWS * halves.shape[-1])[...] = np.moveaxis(words, -1, -2)


def _halves(out: Bytes, index: int) -> NDArray[np.uint16]:
    start = 2 * GROUP_ROWS * index
    return out[..., start : start + 2 * GROUP_ROWS].view(np.uint16)


def _quads(out: Bytes, start: int) -> Words:
    return out[..., start:].view(np.uint32).reshape(*out.shape[:2], -1, GROUP_ROWS)


def _as_they_are(blocks: NDArray[Any], out: Bytes) -> None:
    _lay_out(blocks, blocks["words"], out)


def _five_bits(blocks: NDArray[Any], out: Bytes) -> None:
    """Bit i of ``fifth`` is the top bit of column i; where it is not set, 16 is taken off."""
    nibbles = blocks["words"]
    levels = np.concatenate([nibbles & _LOW, nibbles >> _FOUR_BITS & _LOW], axis=-1)
    four = blocks["fifth"] >> _OF_QUADS & np.uint32(15)
    is_set = four * _BITS_TO_BYTES & _ONES
    levels |= (is_set ^ _ONES) * np.uint32(0xF0)
    _lay_out(blocks, levels, out)


def _super_blocks(blocks: NDArray[Any], out: Bytes) -> None:
    """ggml pairs the nibbles of columns that are 32 apart, we those that are 16 apart."""
    for i in range(2):
        _halves(out, i)[...] = blocks["halves"][..., i]
    levels = out[..., 4 * GROUP_ROWS : 16 * GROUP_ROWS].reshape(*out.shape[:2], 12, GROUP_ROWS)
    levels[...] = np.moveaxis(blocks["levels"], -1, -2)
    # Pieces of 64 columns, of which the first and the next 16, and the same 32 further on.
    words = np.ascontiguousarray(np.moveaxis(blocks["words"], 2, -1))
    first, next_16 = words[..., 0, :, :], words[..., 1, :, :]
    quads = _quads(out, 16 * GROUP_ROWS).reshape(words.shape)
    quads[..., 0, :, :] = (first & _LOW) | (next_16 & _LOW) << _FOUR_BITS
    quads[..., 1, :, :] = (first >> _FOUR_BITS & _LOW) | (next_16 & _HIGH)


@dataclass(frozen=True, slots=True)
class _Type:
    """One of ggml's types, and what becomes of it."""

    format: str
    columns: int
    """Of a block."""
    layout: np.dtype[Any]
    """Of a block: ``halves`` are its scales, then its minima."""
    lay_out: Callable[[NDArray[Any], Bytes], None]


def _layout(*fields: tuple[str, str, tuple[int, ...]]) -> np.dtype[Any]:
    return np.dtype(list(fields))


_TYPES = {
    "Q4_0": _Type(
        *("q4", 32, _layout(("halves", "<u2", (1,)), ("words", "<u4", (4,))), _as_they_are)
    ),
    "IQ4_NL": _Type(
        *("q4n", 32, _layout(("halves", "<u2", (1,)), ("words", "<u4", (4,))), _as_they_are)
    ),
    "Q8_0": _Type(
        *("q8", 32, _layout(("halves", "<u2", (1,)), ("words", "<u4", (8,))), _as_they_are)
    ),
    "Q4_1": _Type(
        *("q4_1", 32, _layout(("halves", "<u2", (2,)), ("words", "<u4", (4,))), _as_they_are)
    ),
    "Q5_0": _Type(
        "q8",
        32,
        _layout(("halves", "<u2", (1,)), ("fifth", "<u4", (1,)), ("words", "<u4", (4,))),
        _five_bits,
    ),
    "Q4_K": _Type(
        "q4k",
        256,
        _layout(("halves", "<u2", (2,)), ("levels", "u1", (12,)), ("words", "<u4", (4, 2, 4))),
        _super_blocks,
    ),
}

GGML_FORMATS = {name: kind.format for name, kind in _TYPES.items()}
"""ggml's types that are kept without loss, each with the format that it becomes."""

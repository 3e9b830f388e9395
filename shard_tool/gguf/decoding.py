"""Weights in ggml's blocks as float32, for the formats of which a store has no equal.

Layouts are those of ggml-common.h, values those of its reference (``dequantize_row_*`` in
ggml-quants.c): the same products and sums in the same order, so the same bits.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pi_cluster.shard_tool.gguf.ggml_types import GgmlType

Bytes = NDArray[np.uint8]
Array = NDArray[np.float32]

_LOW = np.uint8(0x0F)
_FOUR = np.uint8(4)


def decoded(type_: GgmlType, rows: Bytes, columns: int) -> Array:
    """Shapes: ``rows (n, bytes of a row)`` -> ``(n, columns)``.

    The type is one of those that are read and not kept: ``is_plain`` or ``rounded_to``. Scales that
    are no numbers make weights that are none.
    """
    blocks = rows.reshape(-1, type_.block_bytes)
    with np.errstate(invalid="ignore", over="ignore"):
        return _DECODERS[type_.name](blocks).reshape(len(rows), columns)


# Below, blocks are ``(n, bytes of a block)`` and weights ``(n, ...)``, in the order of columns.


def _float32(blocks: Bytes) -> Array:
    return blocks.view("<f4").astype(np.float32, copy=False)


def _float16(blocks: Bytes) -> Array:
    return blocks.view("<f2").astype(np.float32)


def _bfloat16(blocks: Bytes) -> Array:
    wide = blocks.view("<u2").astype(np.uint32)
    wide <<= 16
    return wide.view(np.float32)


def _q5_1(blocks: Bytes) -> Array:
    scale, minimum = _half(blocks, 0), _half(blocks, 2)
    levels = np.concatenate([blocks[:, 8:] & _LOW, blocks[:, 8:] >> _FOUR], axis=1)
    levels |= np.unpackbits(blocks[:, 4:8], axis=1, bitorder="little") << _FOUR
    return _scaled(levels, scale) + minimum


def _q5_k(blocks: Bytes) -> Array:
    scale, minimum = _six_bits(blocks[:, 4:16])
    scale, minimum = _half(blocks, 0) * scale, _half(blocks, 2) * minimum
    fifth, nibbles = blocks[:, None, 16:48], blocks[:, 48:].reshape(-1, 4, 32)
    levels = np.empty((len(blocks), 8, 32), np.uint8)
    levels[:, 0::2] = nibbles & _LOW
    levels[:, 1::2] = nibbles >> _FOUR
    bits = np.arange(8, dtype=np.uint8)[:, None]
    levels |= (fifth >> bits & np.uint8(1)) << _FOUR
    return _scaled(levels, scale[..., None]) - minimum[..., None]


def _q6_k(blocks: Bytes) -> Array:
    low, high = blocks[:, :128].reshape(-1, 2, 2, 32), blocks[:, 128:192].reshape(-1, 2, 1, 32)
    levels = np.empty((len(blocks), 2, 4, 32), np.uint8)
    levels[:, :, :2] = low & _LOW
    levels[:, :, 2:] = low >> _FOUR
    bits = np.arange(0, 8, 2, dtype=np.uint8)[:, None]
    levels |= (high >> bits & np.uint8(3)) << _FOUR
    levels -= np.uint8(32)  # wraps, as two's complement does
    scale = blocks[:, 192:208].view(np.int8).astype(np.float32) * _half(blocks, 208)
    return _scaled(levels.view(np.int8).reshape(-1, 16, 16), scale[..., None])


def _half(blocks: Bytes, start: int) -> Array:
    """A float16 of each block. Shapes: ``(n, bytes)`` -> ``(n, 1)``."""
    return np.ascontiguousarray(blocks[:, start : start + 2]).view("<f2").astype(np.float32)


def _six_bits(packed: Bytes) -> tuple[Array, Array]:
    """Eight scales and eight minima of six bits each. Shapes: ``(n, 12)`` -> ``(n, 8)`` twice."""
    first, second, rest = packed[:, :4], packed[:, 4:8], packed[:, 8:]
    top, low_six = np.uint8(0x30), np.uint8(0x3F)
    two = np.uint8(2)
    scales = [first & low_six, rest & _LOW | first >> two & top]
    minima = [second & low_six, rest >> _FOUR | second >> two & top]
    return (
        np.concatenate(scales, axis=1).astype(np.float32),
        np.concatenate(minima, axis=1).astype(np.float32),
    )


def _scaled(levels: NDArray[np.integer], scale: Array) -> Array:
    weights: Array = levels.astype(np.float32)
    weights *= scale
    return weights


_DECODERS: dict[str, Callable[[Bytes], Array]] = {
    "F32": _float32,
    "F16": _float16,
    "BF16": _bfloat16,
    "Q5_1": _q5_1,
    "Q5_K": _q5_k,
    "Q6_K": _q6_k,
}

"""Rotary position embedding (arXiv:2104.09864), in the two row orders that checkpoints use.

A head of width ``d`` is ``d / 2`` pairs; pair ``i`` at position ``p`` is turned by
``p * theta ** (-2 i / d)``. *Interleaved* rows (Mistral) pair entries ``2i`` and ``2i + 1``;
*half-split* rows (Hugging Face) pair ``i`` and ``i + d / 2``. Both compute the same scores when
the rows of wq and wk are in the matching order; stores hold interleaved rows.
"""

import math
from decimal import Decimal, localcontext
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pi_cluster.transformer.arithmetic import Array

_TWO_PI = Decimal("6.283185307179586476925286766559005768394")
_TERMS = 16


def rope_angles(positions: NDArray[np.int64], head_dim: int, theta: float) -> tuple[Array, Array]:
    """Cosine and sine of every pair's angle, the same bits on every machine.

    Shapes: ``positions (rows,)`` -> two arrays ``(rows, head_dim // 2)``. Angles are float64: in
    float32 they would lose a digit for every tenfold of the position. Only sums, products and
    roundings to whole numbers are used, which IEEE 754 leaves no choice about; the cosine of a
    machine's own library may differ in its last bit.
    """
    turns = positions[:, None].astype(np.float64) * _turns_per_position(head_dim, theta)
    angle = (turns - np.rint(turns)) * (2 * np.pi)
    square = angle * angle
    cos = _power_series(square, first=0)
    sin = angle * _power_series(square, first=1)
    return cos.astype(np.float32), sin.astype(np.float32)


@lru_cache(maxsize=8)
def _turns_per_position(head_dim: int, theta: float) -> NDArray[np.float64]:
    """Each pair's frequency over 2 pi, in decimal arithmetic: no machine's power function."""
    with localcontext(prec=40):
        base, width = Decimal(theta), Decimal(head_dim)
        return np.array(
            [float(base ** (-Decimal(i) / width) / _TWO_PI) for i in range(0, head_dim, 2)]
        )


def _power_series(square: NDArray[np.float64], first: int) -> NDArray[np.float64]:
    """``sum (-square) ** k / (2 k + first)!``: the cosine, or the sine over its argument.

    Up to pi the last of the terms is below 1e-19.
    """
    total = np.zeros_like(square)
    for k in range(_TERMS, -1, -1):
        total = total * -square + 1 / math.factorial(2 * k + first)
    return total


def rope_interleaved(x: Array, cos: Array, sin: Array) -> Array:
    """Turn heads whose pairs are neighbours (Mistral's row order).

    Shapes: ``x (rows, heads, head_dim)``, ``cos``, ``sin`` ``(rows, head_dim // 2)`` -> as ``x``.
    """
    turned = np.empty_like(x)
    even, odd = x[..., 0::2], x[..., 1::2]
    cos, sin = cos[:, None, :], sin[:, None, :]
    turned[..., 0::2] = even * cos - odd * sin
    turned[..., 1::2] = even * sin + odd * cos
    return turned

"""Rotary position embedding (arXiv:2104.09864), in the two row orders that checkpoints use.

The first ``d`` entries of a head, mostly all of them, are ``d / 2`` pairs; pair ``i`` at position
``p`` is turned by ``p * theta ** (-2 i / d) / factors[i]``. Factors stretch a model to longer texts
(arXiv:2309.00071). *Interleaved* rows (Mistral) pair entries ``2i`` and ``2i + 1``;
*half-split* rows (Hugging Face) pair ``i`` and ``i + d / 2``. Both compute the same scores when
the rows of wq and wk are in the matching order; stores hold interleaved rows.
"""

import math
from collections.abc import Mapping
from decimal import Decimal, localcontext
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pi_cluster.transformer.arithmetic import Array

Angles = Mapping[int, tuple[Array, Array]]
"""Cosines and sines of a step's rows by the index of their rope table."""

_TWO_PI = Decimal("6.283185307179586476925286766559005768394")
_TERMS = 16
_TILE = 64  # positions whose angles are made together


def rope_angles(
    positions: NDArray[np.int64],
    rotary_dim: int,
    theta: float,
    factors: tuple[float, ...] | None = None,
) -> tuple[Array, Array]:
    """Cosine and sine of every pair's angle, the same bits on every machine.

    Shapes: ``positions (rows,)`` -> two arrays ``(rows, rotary_dim // 2)``. Angles are float64: in
    float32 they would lose a digit for every tenfold of the position. Only sums, products and
    roundings to whole numbers are used, which IEEE 754 leaves no choice about; the cosine of a
    machine's own library may differ in its last bit.
    """
    if len(positions) == 1:
        # As for a user's next token: a hundred small calls of numpy would cost as much as a layer.
        tile, row = divmod(int(positions[0]), _TILE)
        cos, sin = _angles_of_tile(tile, rotary_dim, theta, factors)
        return cos[row : row + 1], sin[row : row + 1]
    return _computed_angles(positions, rotary_dim, theta, factors)


@lru_cache(maxsize=32)
def _angles_of_tile(
    tile: int, rotary_dim: int, theta: float, factors: tuple[float, ...] | None
) -> tuple[Array, Array]:
    """Those of ``_TILE`` consecutive positions, for reading only."""
    positions = np.arange(tile * _TILE, (tile + 1) * _TILE)
    cos, sin = _computed_angles(positions, rotary_dim, theta, factors)
    cos.setflags(write=False)
    sin.setflags(write=False)
    return cos, sin


def _computed_angles(
    positions: NDArray[np.int64],
    rotary_dim: int,
    theta: float,
    factors: tuple[float, ...] | None,
) -> tuple[Array, Array]:
    turns = positions[:, None].astype(np.float64) * _turns_per_position(rotary_dim, theta, factors)
    angle = (turns - np.rint(turns)) * (2 * np.pi)
    square = angle * angle
    cos = _power_series(square, first=0)
    sin = angle * _power_series(square, first=1)
    return cos.astype(np.float32), sin.astype(np.float32)


@lru_cache(maxsize=8)
def _turns_per_position(
    rotary_dim: int, theta: float, factors: tuple[float, ...] | None
) -> NDArray[np.float64]:
    """Each pair's frequency over 2 pi, in decimal arithmetic: no machine's power function."""
    factors = factors or (1.0,) * (rotary_dim // 2)
    with localcontext(prec=40):
        base, width = Decimal(theta), Decimal(rotary_dim)
        frequencies = (
            base ** (-Decimal(2 * pair) / width) / Decimal(factor)
            for pair, factor in zip(range(rotary_dim // 2), factors, strict=True)
        )
        return np.array([float(frequency / _TWO_PI) for frequency in frequencies])


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

    Shapes: ``x (rows, heads, head_dim)``, ``cos``, ``sin`` ``(rows, pairs)`` -> as ``x``. Entries
    of a head beyond its first ``2 * pairs`` stay as they are.
    """
    turned, stop = x.copy(), 2 * cos.shape[-1]
    even, odd = x[..., 0:stop:2], x[..., 1:stop:2]
    cos, sin = cos[:, None, :], sin[:, None, :]
    turned[..., 0:stop:2] = even * cos - odd * sin
    turned[..., 1:stop:2] = even * sin + odd * cos
    return turned

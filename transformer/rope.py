"""Rotary position embedding (arXiv:2104.09864), in the two row orders that checkpoints use.

A head of width ``d`` is ``d / 2`` pairs; pair ``i`` at position ``p`` is turned by
``p * theta ** (-2 i / d)``. *Interleaved* rows (Mistral) pair entries ``2i`` and ``2i + 1``;
*half-split* rows (Hugging Face) pair ``i`` and ``i + d / 2``. Both compute the same scores when
the rows of wq and wk are in the matching order; stores hold interleaved rows.
"""

import numpy as np
from numpy.typing import NDArray

from transformer.arithmetic import Array


def rope_angles(positions: NDArray[np.int64], head_dim: int, theta: float) -> tuple[Array, Array]:
    """Cosine and sine of every pair's angle.

    Shapes: ``positions (rows,)`` -> two arrays ``(rows, head_dim // 2)``. The angles are computed
    in float64: in float32 they would lose a digit for every tenfold of the position.
    """
    frequency = theta ** (-np.arange(0, head_dim, 2, dtype=np.float64) / head_dim)
    angle = positions[:, None].astype(np.float64) * frequency
    return np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)


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


def rope_half_split(x: Array, cos: Array, sin: Array) -> Array:
    """Turn heads whose pairs lie half a head apart (Hugging Face's row order).

    Shapes: as in :func:`rope_interleaved`.
    """
    half = x.shape[-1] // 2
    low, high = x[..., :half], x[..., half:]
    cos, sin = cos[:, None, :], sin[:, None, :]
    return np.concatenate((low * cos - high * sin, low * sin + high * cos), axis=-1)

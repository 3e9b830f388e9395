"""Products, norms and activations over rows of float32."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Weight = NDArray[Any]  # float32, or float16 that is widened where it is used

_BLOCK_BYTES = 1 << 19  # a block of weights stays in a core's own cache while every row visits it


def linear(x: Array, weight: Weight) -> Array:
    """Multiply each row of ``x`` by ``weight``.

    Shapes: ``x (rows, n_in)``, ``weight (n_out, n_in)`` -> ``(rows, n_out)``.

    Each row is a matrix-vector product of its own. One matrix-matrix product would be faster, but
    BLAS chooses its order of summation by the shape, so a row's last bits would depend on how many
    other rows are in the batch.
    """
    n_out, n_in = weight.shape
    out = np.empty((len(x), n_out), np.float32)
    block_rows = max(1, _BLOCK_BYTES // (4 * n_in))
    for start in range(0, n_out, block_rows):
        block = weight[start : start + block_rows].astype(np.float32, copy=False)
        out[:, start : start + block_rows] = np.matmul(x[:, None, :], block.T)[:, 0]
    return out


def rms_norm(x: Array, gain: Array, eps: float) -> Array:
    """Scale each row of ``x`` to unit root-mean-square, then by ``gain``.

    Shapes: ``x (..., dim)``, ``gain (dim,)`` -> as ``x``. Source: arXiv:1910.07467, eq. 4.
    """
    mean_square = np.mean(x * x, axis=-1, keepdims=True)
    normed: Array = x / np.sqrt(mean_square + np.float32(eps)) * gain
    return normed


def silu(x: Array) -> Array:
    """``x * sigmoid(x)``, elementwise. Source: arXiv:1606.08415."""
    # exp(-|x|) cannot overflow, whatever the sign of x.
    small: Array = np.exp(-np.abs(x))
    result: Array = x * np.where(x >= 0, np.float32(1), small) / (np.float32(1) + small)
    return result


def swiglu(gate: Array, up: Array) -> Array:
    """``silu(gate) * up``, elementwise: what lies between the products of a feed-forward block.

    Shapes: both ``(rows, n)`` -> the same. Source: arXiv:2002.05202, eq. 6.
    """
    return silu(gate) * up

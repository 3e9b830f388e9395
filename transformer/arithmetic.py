"""Linear maps, norms and activations over rows of float32."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Weight = NDArray[Any]  # float32, or float16 that is widened where it is used

_BLOCK_BYTES = 1 << 19  # a block of weights stays in a core's own cache while every row visits it


def linear(x: Array, weight: Weight, bias: Array | None = None) -> Array:
    """Multiply each row of ``x`` by ``weight``, then add ``bias`` to the finished product.

    Shapes: ``x (rows, n_in)``, ``weight (n_out, n_in)``, ``bias (n_out,)`` -> ``(rows, n_out)``.

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
    return out if bias is None else out + bias


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


def swiglu(x: Array, w1: Weight, w2: Weight, w3: Weight) -> Array:
    """The feed-forward block ``w2 (silu(w1 x) * w3 x)``.

    Shapes: ``x (rows, dim)``, ``w1``, ``w3`` ``(hidden_dim, dim)``, ``w2 (dim, hidden_dim)`` ->
    ``(rows, dim)``. Source: arXiv:2002.05202, eq. 6.
    """
    return linear(silu(linear(x, w1)) * linear(x, w3), w2)

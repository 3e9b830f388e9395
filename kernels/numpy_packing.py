"""Quantising weights without the compiled library: the bytes of ``src/pack.h``, slower.

For machines that cut models and run none. A column of many blocks is one array here, as it is one
vector there, and every operation rounds as it does there; a test holds the bytes equal.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pi_cluster.kernels.fused_sums import sum_of_products
from pi_cluster.kernels.matrix import BLOCK_COLUMNS, GROUP_ROWS

Array = NDArray[np.float32]
"""Shapes: ``(blocks,)`` for scales and errors, ``(BLOCK_COLUMNS, blocks)`` for weights."""

_F32 = np.float32
_QUAD = 4  # neighbouring columns of a row lie together
_LARGEST_HALF = _F32(65504.0)
_SMALLEST_SCALE = _F32(2.0**-25)  # less than any half but zero
_ROUNDER = _F32(1.5 * 2.0**23)  # added and taken off again, it leaves a whole number
_Q4_LOWEST, _Q4_HIGHEST, _Q4_ZERO = -8, 7, 8
_Q8_HIGHEST = 127
_Q4_STARTS = (
    *(-8.0, -9.0, -8.75, -8.5, -8.25, -7.75, -7.5, -7.25, -7.0),
    *(-6.5, 8.0, 7.75, 7.5, 7.25, 7.0, 6.75, 6.5, 6.0),
)
_Q4N_GRID = np.array(
    [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], np.int8
)
_Q4N_STARTS = (
    *(-127.0, -143.0, -138.0, -132.0, -122.0, -117.0, -111.0, -105.0),
    *(113.0, 127.0, 122.0, 118.0, 108.0, 103.0, 98.0, 92.0),
)
_HALVES = 256  # half steps that a level is rounded up to, either way of zero
_NIBBLE_OF_HALVES = np.searchsorted(
    _Q4N_GRID[:-1].astype(int) + _Q4N_GRID[1:], np.arange(-_HALVES, _HALVES + 1)
).astype(np.uint8)
"""The grid's nearest entry, of two as near the lower: all midpoints are whole half steps."""
_LEVEL_OF_HALVES = _Q4N_GRID[_NIBBLE_OF_HALVES].astype(_F32)
_AT_ONCE = 2048  # blocks, so that what a thread works on stays in its core's cache


def packed(
    weights: Array, format: str, threads: int, importance: Array | None = None
) -> NDArray[np.uint8]:
    """The bytes of a matrix in ``q4``, ``q4n`` or ``q8``. Shapes: ``weights (rows, columns)``.

    The columns are a multiple of ``BLOCK_COLUMNS``, and no weight is larger than the format holds.
    ``importance`` is as ``importance_within_blocks`` has it.
    """
    rows, columns = weights.shape
    groups, blocks = -(-rows // GROUP_ROWS), columns // BLOCK_COLUMNS
    step = max(1, _AT_ONCE // (GROUP_ROWS * blocks))
    pack = {"q4": _q4, "q4n": _q4n, "q8": _q8}[format]

    def part(group: int) -> NDArray[np.uint8]:
        some = weights[group * GROUP_ROWS : (group + step) * GROUP_ROWS]
        padding = -len(some) % GROUP_ROWS
        whole = np.pad(some, ((0, padding), (0, 0))) if padding else some
        turned = whole.reshape(-1, GROUP_ROWS, blocks, BLOCK_COLUMNS).transpose(3, 0, 2, 1)
        turned = np.ascontiguousarray(turned)
        of_columns = _of_columns(importance, turned.shape)
        with np.errstate(divide="ignore", invalid="ignore"):  # of zeros, which are sorted out
            scales, quants = pack(turned.reshape(BLOCK_COLUMNS, -1), of_columns)
        return _laid_out(scales, quants)

    with ThreadPoolExecutor(threads, "pack") as pool:
        return np.concatenate(list(pool.map(part, range(0, groups, step))))


def _laid_out(scales: Array, quants: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Blocks as ``src/formats.h`` has them. Shapes: ``(blocks,)``, ``(bytes a row, blocks)``."""
    halves = scales.astype("<f2").view(np.uint8).reshape(-1, 2 * GROUP_ROWS)
    quads = quants.reshape(-1, _QUAD, len(halves), GROUP_ROWS).transpose(2, 0, 3, 1)
    return np.concatenate([halves, quads.reshape(len(halves), -1)], axis=1).reshape(-1)


@dataclass(frozen=True, slots=True)
class _Blocks:
    """Shapes: both ``(BLOCK_COLUMNS, blocks)``. Without importance, each column's is one."""

    weights: Array
    importance: Array | None

    def sums(self, levels: Array) -> tuple[Array, Array]:
        """Products with the levels, and squares of these, each times the column's importance."""
        if self.importance is None:  # squares are whole numbers, so their order is no matter
            return sum_of_products(self.weights, levels), np.square(levels).sum(axis=0)
        weighed = levels * self.importance
        return sum_of_products(self.weights, weighed), sum_of_products(levels, weighed)

    def squared_error(self, levels: Array, scale: Array) -> Array:
        """Of these levels times a scale. The levels are overwritten."""
        levels *= scale
        miss = np.subtract(self.weights, levels, out=levels)
        return sum_of_products(miss, miss if self.importance is None else miss * self.importance)


def _of_columns(importance: Array | None, turned: tuple[int, ...]) -> Array | None:
    """That of every column of every block. Shapes: ``turned`` is columns, groups, blocks, rows."""
    if importance is None:
        return None
    of_blocks = importance.reshape(-1, BLOCK_COLUMNS).T[:, None, :, None]
    return np.broadcast_to(of_blocks, turned).reshape(BLOCK_COLUMNS, -1)


def _q4(w: Array, importance: Array | None) -> tuple[Array, NDArray[np.uint8]]:
    scale = _best_q4_scale(_Blocks(w, importance))
    return scale, _paired((_q4_levels(w, scale) + _Q4_ZERO).astype(np.uint8))


def _q4n(w: Array, importance: Array | None) -> tuple[Array, NDArray[np.uint8]]:
    scale = _best_q4n_scale(_Blocks(w, importance))
    return scale, _paired(_NIBBLE_OF_HALVES[_halves(w, scale)])


def _paired(nibbles: NDArray[np.uint8]) -> NDArray[np.uint8]:
    half = BLOCK_COLUMNS // 2
    return nibbles[:half] | nibbles[half:] << np.uint8(4)


def _q8(w: Array, importance: Array | None) -> tuple[Array, NDArray[np.uint8]]:
    del importance  # the largest weight alone says what the scale must be
    scale = _as_stored(np.abs(w).max(axis=0) / _F32(_Q8_HIGHEST))
    levels = _nearest(w, _inverse_or_zero(scale), -_Q8_HIGHEST, _Q8_HIGHEST)
    return scale, levels.astype(np.int8).view(np.uint8)


def _extreme(w: Array) -> Array:
    """The entry of largest magnitude of each block, with its sign."""
    extreme: Array = np.take_along_axis(w, np.abs(w).argmax(axis=0)[None], axis=0)[0]
    return extreme


def _best_q4_scale(blocks: _Blocks) -> Array:
    """The scale of least squared error among those that the starts lead to."""
    w = blocks.weights
    extreme = _extreme(w)
    best: Array = np.zeros_like(extreme)
    least = np.full_like(extreme, np.inf)
    for start in _Q4_STARTS:
        levels = _q4_levels(w, _as_stored(extreme / _F32(start)))
        products, squares = blocks.sums(levels)
        scale = _as_stored(np.where(squares > 0, products / squares, _F32(0)))
        error = blocks.squared_error(_q4_levels(w, scale), scale)
        best = np.where(error < least, scale, best)
        least = np.minimum(error, least)
    return best


def _q4_levels(w: Array, scale: Array) -> Array:
    return _nearest(w, _inverse_or_zero(scale), _Q4_LOWEST, _Q4_HIGHEST)


def _best_q4n_scale(blocks: _Blocks) -> Array:
    """The best of the starts by the error with the levels of each; then, if it is better, with the
    levels that this scale leads to.
    """
    w = blocks.weights
    extreme = _extreme(w)
    best: Array = np.zeros_like(extreme)
    most = np.zeros_like(extreme)
    for start in _Q4N_STARTS:
        scale, gain = _fitted(blocks, _as_stored(extreme / _F32(start)))
        best = np.where(most < gain, scale, best)
        most = np.maximum(gain, most)
    best = _as_stored(best)
    again = _as_stored(_fitted(blocks, best)[0])
    error, error_again = (blocks.squared_error(_q4n_levels(w, s), s) for s in (best, again))
    chosen: Array = np.where(error_again < error, again, best)
    return chosen


def _fitted(blocks: _Blocks, scale: Array) -> tuple[Array, Array]:
    """With the levels that ``scale`` leads to, the scale of least squared error, and what that
    takes off the sum of squares. No level is zero, so there is always one.
    """
    products, squares = blocks.sums(_q4n_levels(blocks.weights, scale))
    return products / squares, products * products / squares


def _q4n_levels(w: Array, scale: Array) -> Array:
    return _LEVEL_OF_HALVES[_halves(w, scale)]


def _halves(w: Array, scale: Array) -> NDArray[np.intp]:
    """Places in ``_NIBBLE_OF_HALVES``."""
    halves = w * _inverse_or_zero(scale)
    halves += halves
    np.clip(halves, _F32(-_HALVES), _F32(_HALVES), out=halves)
    places: NDArray[np.intp] = np.ceil(halves, out=halves).astype(np.intp) + _HALVES
    return places


def _as_stored(scale: Array) -> Array:
    limited = np.clip(scale, -_LARGEST_HALF, _LARGEST_HALF)
    return limited.astype(np.float16).astype(_F32)


def _inverse_or_zero(scale: Array) -> Array:
    return np.where(np.abs(scale) < _SMALLEST_SCALE, _F32(0), _F32(1) / scale)


def _nearest(w: Array, inverse: Array, low: int, high: int) -> Array:
    levels = w * inverse
    np.clip(levels, _F32(low), _F32(high), out=levels)
    levels += _ROUNDER
    levels -= _ROUNDER
    return levels

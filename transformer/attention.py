"""Grouped-query attention over the rolling cache, with a sliding window.

Sources: arXiv:2305.13245 (grouped-query attention), arXiv:2310.06825 (sliding window).
"""

import numpy as np
from numpy.typing import NDArray

from pi_cluster.kernels import usual_query_scale
from pi_cluster.transformer.arithmetic import Array
from pi_cluster.transformer.cache import RollingKVCache

_QUERY_BLOCK = 16  # bounds the scores held at once to 16 rows, whatever the chunk


def visible(
    queries: NDArray[np.int64], keys: NDArray[np.int64], window: int | None
) -> NDArray[np.bool_]:
    """Which key positions each query position may see: ``0 <= query - key < window``.

    Shapes: ``queries (rows,)``, ``keys (n,)`` -> ``(rows, n)``. Without a window, all earlier keys.
    """
    distance = queries[:, None] - keys[None, :]
    seen = distance >= 0
    return seen if window is None else seen & (distance < window)


def attend(
    queries: Array,
    cache: RollingKVCache,
    start: int,
    window: int | None,
    query_scale: float | None = None,
) -> Array:
    """Attention of consecutive positions over a cache that already holds their own keys.

    Shapes: ``queries (rows, n_heads, head_dim)``, the first of them at position ``start`` ->
    ``(rows, n_heads * head_dim)``. Queries are multiplied by ``query_scale`` first, which is
    ``head_dim ** -0.5`` unless given.
    """
    queries = queries * np.float32(query_scale or usual_query_scale(queries.shape[-1]))
    blocks = [
        _attend_block(queries[i : i + _QUERY_BLOCK], cache, start + i, window)
        for i in range(0, len(queries), _QUERY_BLOCK)
    ]
    return np.concatenate(blocks)


def _attend_block(queries: Array, cache: RollingKVCache, start: int, window: int | None) -> Array:
    """Attention of scaled queries, a tile of keys at a time, oldest first.

    A tile that a row does not see adds exact zeros to it, so it does not matter which other rows
    made it be read; sums within a tile have a fixed length and tiles are added in order.
    """
    rows, n_heads, head_dim = queries.shape
    n_kv_heads = cache.tile(0)[0].shape[0]
    grouped = queries.reshape(rows, n_kv_heads, n_heads // n_kv_heads, head_dim)
    positions = np.arange(start, start + rows)
    oldest = 0 if window is None else max(0, start - window + 1)
    tiles = range(oldest // cache.tile_size, (start + rows - 1) // cache.tile_size + 1)

    scores = [_tile_scores(grouped, cache, tile, positions, window) for tile in tiles]
    peak = np.max([score.max(axis=-1) for score in scores], axis=0)[..., None]
    total = np.zeros_like(peak)
    mixed = np.zeros_like(grouped)
    for tile, score in zip(tiles, scores, strict=True):
        weight = np.exp(score - peak)
        total += weight.sum(axis=-1, keepdims=True)
        mixed += np.matmul(weight, cache.tile(tile)[1])
    result: Array = (mixed / total).reshape(rows, n_heads * head_dim)
    return result


def _tile_scores(
    grouped: Array,
    cache: RollingKVCache,
    tile: int,
    positions: NDArray[np.int64],
    window: int | None,
) -> Array:
    """Scores against one tile of keys, minus infinity where a key is not seen."""
    keys, _ = cache.tile(tile)
    key_positions = np.arange(tile * cache.tile_size, (tile + 1) * cache.tile_size)
    seen = visible(positions, key_positions, window)[:, None, None, :]
    scores = np.matmul(grouped, keys.swapaxes(1, 2))
    return np.where(seen, scores, np.float32(-np.inf))

"""Attention over the rolling cache: who sees whom, and the right mixture of what is seen."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from pi_cluster.transformer.attention import attend, visible
from pi_cluster.transformer.cache import KEY_TILE, RollingKVCache


@pytest.fixture(autouse=True, scope="module")
def _one_blas_thread() -> Iterator[None]:
    with threadpool_limits(1):
        yield


def random_rows(seed: int, rows: int, heads: int, head_dim: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, heads, head_dim)).astype(np.float32)


def attend_in_chunks(
    queries: np.ndarray,
    keys: np.ndarray,
    values: np.ndarray,
    sizes: list[int],
    window: int | None,
    capacity: int,
    tile: int = KEY_TILE,
) -> np.ndarray:
    cache = RollingKVCache(keys.shape[1], keys.shape[2], capacity, tile)
    mixed, start = [], 0
    for size in sizes:
        part = slice(start, start + size)
        cache.append(keys[part], values[part])
        mixed.append(attend(queries[part], cache, start, window))
        start += size
    assert start == len(queries)
    return np.concatenate(mixed)


def plain_attention(
    queries: np.ndarray, keys: np.ndarray, values: np.ndarray, window: int | None
) -> np.ndarray:
    """One query, head and key after another in float64, without cache, tiles or mask."""
    rows, n_heads, head_dim = queries.shape
    group = n_heads // keys.shape[1]
    out = np.zeros((rows, n_heads, head_dim))
    for i in range(rows):
        first = 0 if window is None else max(0, i - window + 1)
        for head in range(n_heads):
            seen = keys[first : i + 1, head // group].astype(np.float64)
            weights = np.exp(seen @ queries[i, head].astype(np.float64) / np.sqrt(head_dim))
            out[i, head] = weights / weights.sum() @ values[first : i + 1, head // group]
    return out.reshape(rows, -1)


def test_the_mask_of_a_window_of_three():
    positions = np.arange(6)
    assert visible(positions, positions, 3).astype(int).tolist() == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [0, 1, 1, 1, 0, 0],
        [0, 0, 1, 1, 1, 0],
        [0, 0, 0, 1, 1, 1],
    ]


def test_the_mask_without_a_window_is_a_triangle():
    positions = np.arange(5)
    assert np.array_equal(visible(positions, positions, None), np.tri(5, dtype=bool))


TEN_WORDS = [
    [0],
    [0, 1],
    [0, 1, 2],
    [0, 1, 2, 3],
    [1, 2, 3, 4],  # the second chunk: its first query still sees three words of the first
    [2, 3, 4, 5],
    [3, 4, 5, 6],
    [4, 5, 6, 7],
    [5, 6, 7, 8],  # the third chunk has wrapped into the slots of positions 0 and 1
    [6, 7, 8, 9],
]


@pytest.mark.parametrize("tile", [1, 2, 4, 8])
@pytest.mark.parametrize("sizes", [[4, 4, 2], [1] * 10])
def test_ten_words_in_chunks_of_four_see_the_last_four_words_of_cache_and_chunk(sizes, tile):
    # Keys of zero weigh all alike, and the value of word p is the unit vector p: what comes out
    # of a query is the list of words it saw.
    zeros, words = np.zeros((10, 1, 10), np.float32), np.eye(10, dtype=np.float32)[:, None]
    seen = attend_in_chunks(zeros, zeros, words, sizes, window=4, capacity=8, tile=tile)
    assert [np.flatnonzero(row).tolist() for row in seen] == TEN_WORDS
    for row, keys in zip(seen, TEN_WORDS, strict=True):
        np.testing.assert_allclose(row[keys], 1 / len(keys), rtol=1e-6, atol=0)


@pytest.mark.parametrize("window", [1, 3, 4])
def test_ten_words_in_chunks_of_four_equal_the_whole_prompt_to_the_bit(window):
    queries, keys, values = (random_rows(seed, 10, 2, 8) for seed in (1, 2, 3))
    chunked = attend_in_chunks(queries, keys, values, [4, 4, 2], window, capacity=8, tile=4)
    whole = attend_in_chunks(queries, keys, values, [10], window, capacity=16, tile=4)
    assert np.array_equal(chunked, whole)
    expected = plain_attention(queries, keys, values, window)
    np.testing.assert_allclose(chunked, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("window", [None, 1, 5, 64, 100, 1000])
@pytest.mark.parametrize(("n_heads", "n_kv_heads"), [(2, 2), (8, 2), (4, 1)])
def test_attention_equals_a_plain_softmax_in_float64(window, n_heads, n_kv_heads):
    rows = 150
    queries = 3 * random_rows(4, rows, n_heads, 16)
    keys, values = random_rows(5, rows, n_kv_heads, 16), random_rows(6, rows, n_kv_heads, 16)
    found = attend_in_chunks(queries, keys, values, [rows], window, capacity=4 * KEY_TILE)
    expected = plain_attention(queries, keys, values, window)
    np.testing.assert_allclose(found, expected, rtol=0, atol=5e-6)


def test_a_cache_that_has_wrapped_many_times_gives_the_same_attention():
    rows, window = 700, 90
    queries, keys, values = (random_rows(seed, rows, 2, 8) for seed in (7, 8, 9))
    sizes = [38] * 18 + [16]
    wrapped = attend_in_chunks(queries, keys, values, sizes, window, capacity=2 * KEY_TILE)
    roomy = attend_in_chunks(queries, keys, values, sizes, window, capacity=11 * KEY_TILE)
    assert np.array_equal(wrapped, roomy)
    expected = plain_attention(queries, keys, values, window)
    np.testing.assert_allclose(wrapped, expected, rtol=0, atol=5e-6)


def test_scores_far_apart_do_not_overflow():
    queries, keys = np.full((3, 1, 4), 200, np.float32), np.full((3, 1, 4), 200, np.float32)
    keys[1] = -200
    values = random_rows(10, 3, 1, 4)
    found = attend_in_chunks(queries, keys, values, [3], None, capacity=KEY_TILE)
    expected = np.stack([values[0], values[0], (values[0] + values[2]) / 2]).reshape(3, 4)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


cuts = st.lists(st.integers(1, 40), min_size=1, max_size=120)


@pytest.mark.parametrize("window", [None, 30, 80])
@settings(max_examples=12)
@given(sizes=cuts, group=st.sampled_from([1, 4]))
def test_a_querys_bits_do_not_depend_on_the_chunks(window, sizes, group):
    rows = min(sum(sizes), 200)
    while sum(sizes) > rows:
        sizes = sizes[:-1]
    sizes = sizes + [1] * (rows - sum(sizes))
    queries = random_rows(11, rows, 2 * group, 16)
    keys, values = random_rows(12, rows, 2, 16), random_rows(13, rows, 2, 16)
    capacity = 4 * KEY_TILE if window is None else 2 * KEY_TILE
    chunked = attend_in_chunks(queries, keys, values, sizes, window, capacity)
    whole = attend_in_chunks(queries, keys, values, [rows], window, 4 * KEY_TILE)
    assert np.array_equal(chunked, whole)

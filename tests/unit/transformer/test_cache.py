"""The rolling cache: where positions live, how it grows, and what it may cost."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pi_cluster.transformer.cache import KEY_TILE, RollingKVCache, cache_capacity, reached_slots

HEADS, WIDTH = 2, 3


def rows_of(positions: range) -> np.ndarray:
    """Keys that tell their position, head and entry: 100 * position + 10 * head + entry."""
    entries = 10 * np.arange(HEADS)[:, None] + np.arange(WIDTH)
    return (100 * np.array(positions)[:, None, None] + entries).astype(np.float32)


def append(cache: RollingKVCache, rows: int) -> None:
    keys = rows_of(range(cache.length, cache.length + rows))
    cache.append(keys, -keys)


def positions_in(cache: RollingKVCache, tile: int) -> list[int]:
    keys, values = cache.tile(tile)
    assert np.array_equal(values, -keys)
    positions = (keys[0, :, 0] // 100).astype(int)
    assert np.array_equal(keys, rows_of(positions).swapaxes(0, 1))
    return positions.tolist()


def test_a_cache_of_four_holds_positions_4_5_2_3_after_six():
    cache = RollingKVCache(HEADS, WIDTH, capacity=4, tile=4)
    for rows in (4, 2):
        append(cache, rows)
    assert positions_in(cache, 0) == [4, 5, 2, 3]
    assert cache.length == 6


def test_tiles_of_a_cache_of_four_are_named_by_their_positions():
    cache = RollingKVCache(HEADS, WIDTH, capacity=4, tile=2)
    append(cache, 3)
    append(cache, 3)
    assert positions_in(cache, 1) == [2, 3]
    assert positions_in(cache, 2) == [4, 5]


def test_a_chunk_may_cross_the_end_of_the_buffer():
    cache = RollingKVCache(HEADS, WIDTH, capacity=4, tile=4)
    append(cache, 3)
    append(cache, 4)
    assert positions_in(cache, 0) == [4, 5, 6, 3]


def test_a_step_larger_than_the_buffer_is_our_own_bug():
    cache = RollingKVCache(HEADS, WIDTH, capacity=4, tile=4)
    with pytest.raises(AssertionError, match="evict itself"):
        append(cache, 5)


def test_a_buffer_that_would_cut_a_tile_is_our_own_bug():
    with pytest.raises(AssertionError, match="wrap"):
        RollingKVCache(HEADS, WIDTH, capacity=6, tile=4)


@settings(max_examples=100)
@given(
    tile=st.sampled_from([1, 2, 4]),
    tiles=st.integers(1, 6),
    steps=st.lists(st.integers(1, 24), min_size=1, max_size=30),
)
def test_the_last_positions_are_in_their_slots_after_any_number_of_wraps(tile, tiles, steps):
    cache = RollingKVCache(HEADS, WIDTH, capacity=tile * tiles, tile=tile)
    for rows in steps:
        append(cache, min(rows, cache.capacity))
    held = range(max(0, cache.length - cache.capacity), cache.length)
    for position in held:
        keys, values = cache.tile(position // tile)
        slot = position % tile
        assert np.array_equal(keys[:, slot], rows_of(range(position, position + 1))[0])
        assert np.array_equal(values[:, slot], -keys[:, slot])


@settings(max_examples=100)
@given(capacity=st.integers(1, 20), steps=st.lists(st.integers(1, 20), max_size=25))
def test_a_buffer_grows_by_doubling_and_never_past_its_capacity(capacity, steps):
    cache = RollingKVCache(HEADS, WIDTH, capacity=capacity, tile=1)
    slot_bytes = 2 * HEADS * WIDTH * 4
    sizes = [cache.size_bytes]
    for rows in steps:
        append(cache, min(rows, capacity))
        assert cache.size_bytes >= slot_bytes * min(cache.length, capacity)
        assert cache.size_bytes <= slot_bytes * min(capacity, 2 * cache.length)
        sizes.append(cache.size_bytes)
    grown = [(a, b) for a, b in pairwise(sizes) if a != b]
    assert all(b >= min(2 * a, slot_bytes * capacity) for a, b in grown)


def test_a_text_of_single_steps_copies_its_buffer_a_few_times_only():
    cache = RollingKVCache(HEADS, WIDTH, capacity=1024, tile=4)
    sizes = set()
    for _ in range(3000):
        append(cache, 1)
        sizes.add(cache.size_bytes // (2 * HEADS * WIDTH * 4))
    assert sorted(sizes) == [4, 8, 16, 32, 64, 128, 256, 512, 1024]


def test_an_empty_cache_holds_no_memory():
    assert RollingKVCache(HEADS, WIDTH, capacity=4096).size_bytes == 0


@pytest.mark.parametrize(
    ("window", "context", "max_step_rows", "capacity"),
    [
        (4096, 4096, 512, 4608),
        (128, 10, 512, 640),
        (1, 4096, 1, KEY_TILE),
        (32, 4096, 33, 2 * KEY_TILE),
        (None, 4096, 512, 4096),
        (None, 100, 512, 2 * KEY_TILE),
    ],
)
def test_a_window_has_room_for_the_largest_step_and_no_window_for_the_context(
    window, context, max_step_rows, capacity
):
    assert cache_capacity(window, context, max_step_rows) == capacity


@settings(max_examples=100)
@given(window=st.integers(1, 5000), max_step_rows=st.integers(1, 600))
def test_a_capacity_is_whole_tiles_and_never_less_than_window_and_step(window, max_step_rows):
    capacity = cache_capacity(window, 1, max_step_rows)
    assert capacity % KEY_TILE == 0
    assert 0 <= capacity - (window + max_step_rows) < KEY_TILE


def test_the_formula_is_what_a_full_grown_cache_holds():
    capacity = cache_capacity(40, 1, 30)
    cache = RollingKVCache(HEADS, WIDTH, capacity)
    rows = np.ones((30, HEADS, WIDTH), np.float32)
    for _ in range(20):
        cache.append(rows, rows)
    assert cache.size_bytes == 2 * capacity * HEADS * WIDTH * 4


@pytest.mark.parametrize("window", [1, 2, 3, 8])
def test_a_cache_is_shortened_as_far_as_all_that_is_then_seen_is_stored(window):
    for length in range(1, 30):
        for shorter in range(length + 1):
            cache = RollingKVCache(HEADS, WIDTH, capacity=12, tile=4, window=window)
            for _ in range(length):
                append(cache, 1)
            seen = range(max(0, shorter - window + 1), shorter)
            assert cache.can_truncate(shorter) == all(p >= length - 12 for p in seen)


def test_a_second_shortening_does_not_reach_what_was_overwritten_before_the_first():
    cache = RollingKVCache(HEADS, WIDTH, capacity=12, tile=4, window=4)
    for _ in range(20):
        append(cache, 1)
    cache.truncate(15)
    assert cache.can_truncate(11) and not cache.can_truncate(10)
    assert cache.fork(13).can_truncate(11) and not cache.fork(13).can_truncate(10)
    with pytest.raises(AssertionError, match="overwritten"):
        cache.truncate(10)


def test_a_fork_holds_the_same_positions_apart_from_its_source():
    cache = RollingKVCache(HEADS, WIDTH, capacity=8, tile=4, window=4)
    append(cache, 8)
    fork = cache.fork(5)
    assert (fork.length, cache.length) == (5, 8)
    assert positions_in(fork, 0) == [0, 1, 2, 3] and positions_in(fork, 1)[0] == 4
    append(fork, 5)
    assert positions_in(cache, 0) == [0, 1, 2, 3]
    assert positions_in(fork, 2) == [8, 9, 2, 3]


@pytest.mark.parametrize(
    ("length", "slots"), [(0, 0), (1, 64), (64, 64), (65, 128), (129, 192), (5000, 192)]
)
def test_a_text_takes_whole_tiles_up_to_its_capacity(length, slots):
    assert reached_slots(length, 192) == slots

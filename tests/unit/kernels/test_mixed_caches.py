"""One sequence's caches at layers that differ: each layer is as if it had a cache of its own."""

from dataclasses import replace

import numpy as np
import pytest

from pi_cluster.kernels import KVCache, LayerShape, ShapeError
from tests.support.kernel_engines import EVERY_VARIANT, assert_same_bits, engine, random

FULL = LayerShape(
    dim=64,
    hidden_dim=64,
    n_heads=4,
    n_kv_heads=2,
    head_dim=32,
    norm_eps=1e-5,
    window=None,
    capacity=640,
)
SHAPES = (
    replace(FULL, window=30, capacity=128),
    FULL,
    replace(FULL, window=100, capacity=192, n_heads=6, n_kv_heads=3, head_dim=24),
    replace(FULL, window=30, capacity=128, query_scale=0.5),
    replace(FULL, window=65, capacity=128, n_kv_heads=1, head_dim=100),
)
MOST_ROWS = 64


def extend(caches, texts, start, rows, variant=EVERY_VARIANT[0]):
    """Store and attend the next rows: ``caches`` has one cache of all layers, or one a layer."""
    shared = len(caches) == 1
    out = []
    for index, (queries, keys, values) in enumerate(texts):
        cache, layer = (caches[0], index) if shared else (caches[index], 0)
        part = slice(start, start + rows)
        engine(variant).store(cache, layer, keys[part], values[part])
        out.append(engine(variant).attend(cache, layer, queries[part]))
    for cache in caches:
        cache.advance(rows)
    return out


def texts_of(shapes, positions, seed):
    return [
        (
            random(seed + 3 * i, positions, shape.n_heads * shape.head_dim),
            random(seed + 3 * i + 1, positions, shape.n_kv_heads * shape.head_dim),
            random(seed + 3 * i + 2, positions, shape.n_kv_heads * shape.head_dim),
        )
        for i, shape in enumerate(shapes)
    ]


@pytest.mark.parametrize("seed", range(12))
def test_a_cache_of_many_layers_is_as_one_cache_a_layer_however_it_goes_on(seed):
    """Steps, ways back and copies drawn at random, far past every window and around every end."""
    numbers = np.random.default_rng(seed)
    shapes = [SHAPES[i] for i in numbers.permutation(len(SHAPES))]
    texts = texts_of(shapes, 640, seed)
    together, apart = [KVCache(shapes)], [KVCache([shape]) for shape in shapes]
    moves = 0
    while together[0].length < 600:
        length = together[0].length
        to = int(numbers.integers(max(0, length - 120), length + 1))
        able = all(cache.can_truncate(to) for cache in apart)
        assert together[0].can_truncate(to) == able
        moves += able and to < length
        match numbers.integers(4) if able else 3:
            case 0:
                together[0].truncate(to)
                for cache in apart:
                    cache.truncate(to)
            case 1:
                sources = together[0], apart
                together, apart = [sources[0].fork(to)], [cache.fork(to) for cache in apart]
                extend([sources[0]], texts, 0, 1)  # what is written to the source is not the copy's
            case _:
                rows = int(numbers.integers(1, MOST_ROWS))
                found = extend(together, texts, length, rows)
                expected = extend(apart, texts, length, rows)
                for got, wanted in zip(found, expected, strict=True):
                    assert_same_bits(got, wanted)
        assert together[0].length == apart[0].length
        assert together[0].size_bytes == sum(cache.size_bytes for cache in apart)
    assert moves > 5


def test_a_layer_with_the_narrowest_slack_decides_how_far_a_text_goes_back():
    cache = KVCache([FULL, SHAPES[0], SHAPES[2]])
    cache.advance(64)
    assert cache.can_truncate(0)
    for _ in range(3):
        cache.advance(64)
    # 256 positions: of 128 slots a window of 30 leaves 98, of 192 one of 100 leaves 92.
    assert cache.can_truncate(163) and not cache.can_truncate(162)
    assert KVCache([FULL, SHAPES[0]]).can_truncate(0)
    for change in (cache.truncate, cache.fork):
        with pytest.raises(ShapeError, match="what position 162 sees before 64"):
            change(162)
    cache.truncate(170)
    # What was overwritten before stays so.
    assert cache.can_truncate(163) and not cache.can_truncate(162)


def test_room_is_that_of_the_layer_with_the_least():
    cache = KVCache([FULL, SHAPES[4]])
    cache.check_room(128)
    with pytest.raises(ShapeError, match="65 need 129 slots, and the cache has 128"):
        cache.advance(100)
        cache.check_room(65)
    cache.check_room(64)
    cache.advance(500)
    with pytest.raises(ShapeError, match="641 positions in a cache of 640"):
        cache.check_room(41)


def test_layers_with_a_window_take_no_more_than_their_own_capacity():
    cache = KVCache([FULL, SHAPES[0]])
    small, large = SHAPES[0].cache_bytes_per_layer, FULL.cache_bytes_per_layer
    assert small == large // 5
    sizes = []
    for _ in range(10):
        cache.advance(64)
        sizes.append(cache.size_bytes)
    tile = large // 10
    assert sizes == [2 * tile, *(n * tile + small for n in range(2, 11))]

from pathlib import Path

import numpy as np
import pytest

from pi_cluster.kernels import KVCache, LayerShape, ShapeError
from pi_cluster.transformer.attention import attend
from pi_cluster.transformer.cache import RollingKVCache
from tests.support.kernel_engines import EVERY_VARIANT, assert_same_bits, engine, random


def shape_of(window=None, capacity=256, n_heads=8, n_kv_heads=2, head_dim=32):
    return LayerShape(
        dim=64,
        hidden_dim=64,
        n_heads=n_heads,
        n_kv_heads=n_kv_heads,
        head_dim=head_dim,
        norm_eps=1e-5,
        window=window,
        capacity=capacity,
    )


def texts(shape, positions, seed=0):
    """Queries, keys and values of consecutive positions."""
    return (
        random(seed, positions, shape.n_heads * shape.head_dim),
        random(seed + 1, positions, shape.n_kv_heads * shape.head_dim),
        random(seed + 2, positions, shape.n_kv_heads * shape.head_dim),
    )


def run(shape, text, chunks, variant="portable", threads=1, layers=1, layer=0):
    cache, out, start = KVCache([shape] * layers), [], 0
    for rows in chunks:
        queries, keys, values = (part[start : start + rows] for part in text)
        engine(variant, threads).store(cache, layer, keys, values)
        out.append(engine(variant, threads).attend(cache, layer, queries))
        cache.advance(rows)
        start += rows
    return np.concatenate(out)


def oracle(shape, text, chunks):
    """numpy's attention over keys and values rounded to half precision, as kept here."""
    cache = RollingKVCache(shape.n_kv_heads, shape.head_dim, shape.capacity)
    out, start = [], 0
    for rows in chunks:
        queries, keys, values = (part[start : start + rows] for part in text)
        kept = [
            part.astype(np.float16).astype(np.float32).reshape(rows, -1, shape.head_dim)
            for part in (keys, values)
        ]
        cache.append(*kept)
        heads = queries.reshape(rows, -1, shape.head_dim)
        out.append(attend(heads, cache, start, shape.window))
        start += rows
    return np.concatenate(out)


SHAPES = {
    "no window": (shape_of(), [100, 1, 1, 60]),
    "a tile's edge": (shape_of(), [63, 1, 1, 63, 1]),
    "window of one": (shape_of(window=1, capacity=128), [50, 30]),
    "window of a tile": (shape_of(window=64, capacity=192), [100, 90, 1, 128, 5]),
    "window edge": (shape_of(window=65, capacity=128), [60] + [1] * 70 + [64, 64]),
    "wrapped often": (shape_of(window=50, capacity=128), [70] * 9 + [1] * 3),
    "wrapped at full": (shape_of(window=128, capacity=128), [128] + [1] * 130),
    "head of its own": (shape_of(n_heads=3, n_kv_heads=3, head_dim=16), [30, 1]),
    "five share": (shape_of(n_heads=5, n_kv_heads=1, head_dim=8), [30, 1]),
    "seven share": (shape_of(n_heads=14, n_kv_heads=2, head_dim=24), [70, 1]),
    "widest head": (shape_of(n_heads=4, n_kv_heads=1, head_dim=256), [70, 1]),
    "odd widths": (shape_of(n_heads=2, n_kv_heads=1, head_dim=2), [70, 1]),
    "mistral": (shape_of(n_heads=32, n_kv_heads=8, head_dim=128), [65, 1]),
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("variant", EVERY_VARIANT)
def test_attention_is_that_of_numpy_and_the_same_bits_everywhere(variant, name):
    shape, chunks = SHAPES[name]
    text = texts(shape, sum(chunks))
    got = run(shape, text, chunks, variant)
    np.testing.assert_allclose(got, oracle(shape, text, chunks), atol=3e-6)
    assert_same_bits(got, run(shape, text, chunks))


@pytest.mark.parametrize("window", [None, 1, 40, 64, 100])
@pytest.mark.parametrize("variant", EVERY_VARIANT)
def test_neither_chunks_nor_threads_change_a_row(variant, window):
    shape = shape_of(window=window, capacity=256)
    text = texts(shape, 240)
    expected = run(shape, text, [1] * 240)
    for chunks, threads in (([100, 100, 40], 1), ([64, 64, 64, 48], 2), ([3, 90, 147], 3)):
        assert_same_bits(run(shape, text, chunks, variant, threads), expected)


@pytest.mark.parametrize("variant", EVERY_VARIANT)
def test_layers_of_one_cache_do_not_touch_each_other(variant):
    shape = shape_of()
    text, other = texts(shape, 70), texts(shape, 70, seed=9)
    cache = KVCache([shape] * 3)
    for layer, (_, keys, values) in enumerate((other, text, other)):
        engine(variant).store(cache, layer, keys, values)
    assert_same_bits(engine(variant).attend(cache, 1, text[0]), run(shape, text, [70]))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38, 1e-40])
@pytest.mark.parametrize("variant", EVERY_VARIANT)
def test_a_bad_position_spoils_only_those_that_see_it(variant, bad):
    shape = shape_of(window=30, capacity=128)
    clean = texts(shape, 120)
    text = [part.copy() for part in clean]
    text[1][40, 5] = text[2][40, 7] = bad
    got = run(shape, text, [60, 60], variant)
    assert_same_bits(got, run(shape, text, [1] * 120))
    blind = np.r_[0:40, 70:120]
    assert_same_bits(got[blind], run(shape, clean, [60, 60])[blind])


@pytest.mark.parametrize("variant", EVERY_VARIANT)
def test_huge_scores_neither_overflow_nor_differ(variant):
    shape = shape_of()
    queries, keys, values = texts(shape, 90)
    text = (queries * np.float32(1e3), keys * np.float32(1e3), values)
    got = run(shape, text, [90], variant)
    assert np.isfinite(got).all()
    np.testing.assert_allclose(got, oracle(shape, text, [90]), atol=2e-3)
    assert_same_bits(got, run(shape, text, [90]))


def test_a_cache_shortened_after_wrong_guesses_goes_on_as_if_they_had_not_been():
    shape = shape_of(window=100, capacity=128)
    text = texts(shape, 150)
    expected = run(shape, text, [150 - 28, 28])
    cache = KVCache([shape])
    for start, stop, keep in ((0, 122, 122), (122, 150, 130), (130, 150, 150)):
        guessed = 1 if keep == stop else -1
        queries, keys, values = (part[start:stop] * np.float32(guessed) for part in text)
        keys[: keep - start] *= np.float32(guessed)
        values[: keep - start] *= np.float32(guessed)
        engine().store(cache, 0, keys, values)
        got = engine().attend(cache, 0, queries)
        cache.advance(stop - start)
        cache.truncate(keep)
    assert_same_bits(got, expected[130:])
    with pytest.raises(ShapeError, match="overwritten"):
        cache.truncate(20)


def test_a_second_shortening_does_not_reach_what_was_overwritten_before_the_first():
    cache = KVCache([shape_of(window=100, capacity=128)])
    cache.advance(150)
    cache.truncate(130)
    assert not cache.can_truncate(120)
    for change in (cache.truncate, cache.fork):
        with pytest.raises(ShapeError, match="sees before 22 has been overwritten"):
            change(120)
    cache.fork(125).truncate(121)
    assert cache.length == 130


@pytest.mark.parametrize("length", [-1, 11])
def test_a_cache_is_not_shortened_to_more_than_it_holds(length):
    cache = KVCache([shape_of()])
    cache.advance(10)
    for change in (cache.truncate, cache.fork):
        with pytest.raises(ShapeError, match="10 positions"):
            change(length)


def shared_memory_bytes():
    """Of this process; Python maps anonymous memory as shared."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssShmem"))


def test_memory_is_provided_as_texts_grow_and_taken_back_when_they_are_shortened():
    shape = shape_of(capacity=4096, head_dim=128, n_kv_heads=4)
    cache, tile_bytes = KVCache([shape] * 2), 2 * shape.cache_bytes_per_layer // 64
    text = texts(shape, 4096)[1:]
    empty = shared_memory_bytes()
    for layer in range(2):
        engine().store(cache, layer, *text)
    cache.advance(4096)
    full = shared_memory_bytes()
    assert full - empty >= 63 * tile_bytes
    copied = cache.fork(64)
    assert tile_bytes <= shared_memory_bytes() - full <= 2 * tile_bytes
    cache.truncate(100)
    assert shared_memory_bytes() - empty <= 4 * tile_bytes
    assert (cache.size_bytes, copied.size_bytes) == (2 * tile_bytes, tile_bytes)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"head_dim": 7}, "head_dim is 7"),
        ({"head_dim": 258}, "head_dim is 258"),
        ({"n_heads": 7}, "7 heads cannot share 2"),
        ({"capacity": 100}, "not a multiple of 64"),
        ({"window": 300}, "window is 300"),
        ({"window": 0}, "window is 0"),
        ({"capacity": 2**40}, "capacity is"),
    ],
)
def test_a_shape_that_attention_cannot_take_is_refused_by_name(change, why):
    with pytest.raises(ShapeError, match=why):
        shape_of(**change)


def test_more_rows_than_the_cache_has_room_for_are_refused():
    for shape, rows in ((shape_of(window=100, capacity=128), 129), (shape_of(), 257)):
        with pytest.raises(ShapeError, match="cache"):
            run(shape, texts(shape, rows), [rows])
    shape = shape_of(window=100, capacity=128)
    with pytest.raises(ShapeError, match="need 130 slots"):
        run(shape, texts(shape, 131), [100, 31])

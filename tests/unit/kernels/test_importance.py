"""Columns that count more than others: the search for scales minimises what they make of errors."""

import numpy as np
import pytest

from pi_cluster.kernels import NumpyPacker, ShapeError, unpack
from tests.support.kernel_engines import EVERY_VARIANT, assert_same_bits, engine, random

SEARCHED = ("q4", "q4n")
LEVELS = {
    "q4": np.arange(-8, 8, dtype=np.float32),
    "q4n": np.array(
        [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], np.float32
    ),
}


def second_moments(seed, columns):
    """As activations have them: some columns count a thousand times as much as others."""
    generator = np.random.default_rng(seed)
    return np.exp(generator.standard_normal(columns) * 1.5).astype(np.float32)


def errors(matrix, weights, importance):
    """Of each block of 32, every square times its column's importance."""
    misses = unpack(matrix).astype(np.float64) - weights
    return (misses**2 * importance).reshape(-1, 32).sum(1)


def assert_packed_alike(weights, importance):
    for form in SEARCHED:
        expected = engine("portable").pack(weights, form, importance).data
        for variant in EVERY_VARIANT:
            assert_same_bits(engine(variant, 3).pack(weights, form, importance).data, expected)
        assert_same_bits(NumpyPacker(3).pack(weights, form, importance).data, expected)


@pytest.mark.parametrize("shape", [(16, 32), (1, 64), (45, 160), (200, 256)])
def test_every_variant_and_numpy_pack_the_same_bytes(shape):
    assert_packed_alike(random(1, *shape), second_moments(2, shape[1]))


@pytest.mark.parametrize("scale", [1e-44, 1e-38, 1e-20, 1e20, 3e38])
def test_importance_of_any_size_is_packed_alike(scale):
    moments = second_moments(3, 128)
    assert_packed_alike(random(4, 64, 128), moments / moments.max() * np.float32(scale))


def test_importance_that_differs_by_any_factor_is_packed_alike():
    spread = np.random.default_rng(5).uniform(-44, 38, 256).astype(np.float32)
    importance = np.power(np.float32(10), spread)
    importance[::7] = 0
    for scale in (1e-30, 1e-6, 1, 1e4):
        assert_packed_alike(random(6, 48, 256) * np.float32(scale), importance)


@pytest.mark.parametrize("form", SEARCHED)
def test_where_all_columns_count_alike_the_bytes_are_those_of_no_importance(form):
    weights = random(7, 40, 128)
    expected = engine().pack(weights, form).data
    for value in (1, 0.3, 1e-40, 3e38, 0):
        alike = np.full(128, value, np.float32)
        for packing in (engine(), NumpyPacker(1)):
            assert_same_bits(packing.pack(weights, form, alike).data, expected)


@pytest.mark.parametrize("form", SEARCHED)
def test_a_block_without_any_importance_is_packed_as_if_none_were_given(form):
    weights, importance = random(8, 16, 96), second_moments(9, 96)
    importance[32:64] = 0
    got = unpack(engine().pack(weights, form, importance))
    without = unpack(engine().pack(weights, form))
    assert_same_bits(got[:, 32:64].copy(), without[:, 32:64].copy())
    assert (got[:, :32] != without[:, :32]).any() and (got[:, 64:] != without[:, 64:]).any()


@pytest.mark.parametrize("form", SEARCHED)
def test_no_row_is_farther_away_than_without_by_what_its_columns_count(form):
    generator, importance = np.random.default_rng(10), second_moments(11, 512)
    for weights in (generator.standard_normal((128, 512)), generator.standard_t(4, (128, 512))):
        weights = (0.02 * weights).astype(np.float32)
        ours = errors(engine().pack(weights, form, importance), weights, importance)
        plain = errors(engine().pack(weights, form), weights, importance)
        assert (ours.reshape(128, -1).sum(1) <= plain.reshape(128, -1).sum(1)).all()
        assert ours.sum() < 0.77 * plain.sum()
        # A search by steps may miss for once what another one meets.
        assert (ours > plain * (1 + 1e-6)).mean() < 0.002


@pytest.mark.parametrize("form", SEARCHED)
def test_scales_are_near_the_best_of_a_dense_search(form):
    weights, importance = random(12, 24, 128), second_moments(13, 128)
    ours = errors(engine().pack(weights, form, importance), weights, importance)
    blocks = weights.reshape(-1, 32)
    counts = np.broadcast_to(importance.reshape(1, -1, 32), (24, 4, 32)).reshape(-1, 32)
    levels = LEVELS[form]
    midpoints = (levels[1:] + levels[:-1]) / 2
    peaks = np.abs(blocks).max(1, keepdims=True)
    best = np.full(len(blocks), np.inf)
    for level in np.geomspace(abs(levels).max() / 2, abs(levels).max() * 8, 600):
        for scale in (peaks / level, -peaks / level):
            kept = scale.astype(np.float16).astype(np.float32)
            values = levels[np.searchsorted(midpoints, blocks / kept)] * kept
            best = np.minimum(best, ((values - blocks) ** 2 * counts).sum(1))
    assert ours.sum() <= 1.04 * best.sum()


@pytest.mark.parametrize("form", ["f32", "f16", "q8"])
def test_other_formats_leave_importance_out_of_account(form):
    weights, importance = random(14, 20, 64), second_moments(15, 64)
    expected = engine().pack(weights, form).data
    for packing in (engine(), NumpyPacker(1)):
        assert_same_bits(packing.pack(weights, form, importance).data, expected)


@pytest.mark.parametrize(
    ("importance", "why"),
    [
        (np.ones(63, np.float32), r"float32 \(63,\), not float32 \(64,\)"),
        (np.ones((1, 64), np.float32), r"\(1, 64\), not float32 \(64,\)"),
        (np.ones(64), "float64"),
        *(
            (np.array([1] * 63 + [bad], np.float32), "negative or no finite number")
            for bad in (-1, np.nan, np.inf)
        ),
    ],
)
def test_importance_that_makes_no_sense_is_refused(importance, why):
    for packing in (engine(), NumpyPacker(1)):
        with pytest.raises(ShapeError, match=why):
            packing.pack(random(16, 16, 64), "q4n", importance)

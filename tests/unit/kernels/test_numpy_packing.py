"""Packing without the compiled library: the same bytes, whatever the weights."""

import numpy as np
import pytest

from pi_cluster.kernels import NumpyPacker, ShapeError
from pi_cluster.kernels.fused_sums import sum_of_products
from tests.support.kernel_engines import assert_same_bits, engine, random

SCALES = [1.0, 1e-3, 1e-5, 1e-7, 3e-8, 1e-9, 1e-20, 1e-38, 1e-44, 3e3, 1e5]


def assert_packed_alike(weights):
    for form in ("q8", "q4", "q4n"):
        expected = engine().pack(weights, form).data
        for threads in (1, 3):
            assert_same_bits(NumpyPacker(threads).pack(weights, form).data, expected)


@pytest.mark.parametrize("shape", [(16, 32), (1, 64), (45, 160), (300, 256)])
def test_any_shape_is_packed_to_the_bytes_of_the_kernels(shape):
    assert_packed_alike(random(1, *shape))


@pytest.mark.parametrize("scale", SCALES)
def test_any_size_of_weights_is_packed_to_the_bytes_of_the_kernels(scale):
    with np.errstate(under="ignore"):
        assert_packed_alike(random(2, 64, 128) * np.float32(scale))


@pytest.mark.parametrize("kept_bits", [7, 10, 16])
def test_weights_of_few_bits_are_packed_alike_for_their_sums_lie_half_way(kept_bits):
    bits = random(3, 128, 256).view(np.uint32)
    cut = bits & np.uint32(0xFFFFFFFF << (23 - kept_bits) & 0xFFFFFFFF)
    assert_packed_alike(cut.view(np.float32))


def test_weights_that_stand_alone_and_empty_blocks_are_packed_alike():
    generator = np.random.default_rng(4)
    spread = np.exp(generator.standard_normal((96, 128)) * 8).astype(np.float32) % 60_000
    assert_packed_alike(spread * generator.choice([-1, 0, 1], spread.shape).astype(np.float32))
    assert_packed_alike(np.zeros((16, 64), np.float32))
    assert_packed_alike(np.full((16, 64), -0.0, np.float32))
    assert_packed_alike(generator.integers(-8, 8, (64, 96)).astype(np.float32))


def test_weights_half_way_between_two_levels_are_packed_alike():
    halves = np.arange(-254, 227, dtype=np.float32)[:480].reshape(15, 32) / 2
    for extreme in (-127, 127, 113):
        halves[:, 0] = extreme
        for scale in (1, 2**-10, 3):
            assert_packed_alike(halves * np.float32(scale))


def test_the_largest_weights_that_fit_are_packed_alike():
    weights = np.array([-1, 0.97, 1, 0.01] * 32, np.float32).reshape(2, 64)
    for form, largest in (("q8", 127), ("q4", 7), ("q4n", 113)):
        expected = engine().pack(weights * np.float32(65504 * largest), form).data
        got = NumpyPacker(1).pack(weights * np.float32(65504 * largest), form).data
        assert_same_bits(got, expected)


def test_a_sum_just_below_half_way_is_rounded_down_as_a_fused_one_is():
    odd, step = 1 + 2.0**-23, 2.0**-23
    a = np.array([[odd], [2.0**-24 * odd]], np.float32)
    b = np.array([[1], [1 - step]], np.float32)  # its product is half a step less 2^-70
    assert np.float32(odd + 2.0**-24 * odd * (1 - step)) == odd + step, "float64 cannot tell"
    assert_same_bits(sum_of_products(a, b), np.array([odd], np.float32))
    assert_same_bits(sum_of_products(-a, b), np.array([-odd], np.float32))


def test_plain_formats_and_refusals_are_those_of_the_kernels():
    weights = random(6, 7, 32)
    for form in ("f16", "f32"):
        expected = engine().pack(weights, form).data
        assert_same_bits(NumpyPacker(1).pack(weights, form).data, expected)
    for bad in (np.nan, np.inf, 1e6):
        weights[3, 3] = bad
        with pytest.raises(ShapeError, match="cannot hold"):
            NumpyPacker(1).pack(weights, "q4")

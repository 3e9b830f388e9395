"""q4n, whose nibbles stand for levels of a grid: products to the bit, and the search of scales."""

import gguf
import numpy as np
import pytest

from pi_cluster.kernels import packed_from_ggml, unpack
from pi_cluster.kernels.fused_sums import sum_of_products
from tests.support.ggml_blocks import halves_of, random_blocks
from tests.support.kernel_engines import EVERY_VARIANT, assert_same_bits, engine, random

GRID = np.array(gguf.quants.IQ4_NL.kvalues, np.float32)
MIDPOINTS = (GRID[1:] + GRID[:-1]) / 2
FAMILIES = {
    "gaussian": lambda generator, shape: generator.standard_normal(shape),
    "student-t": lambda generator, shape: generator.standard_t(4, shape),
}


def nearest_on_grid(weights, scales):
    """What blocks of 32 become with these scales. Shapes: ``(n, 32)``, ``(n, 1)``."""
    levels = GRID[np.searchsorted(MIDPOINTS, weights / scales)]
    return levels * scales


def halves(scales):
    return scales.astype(np.float16).astype(np.float32)


def errors(values, weights):
    """Of each block of 32."""
    misses = (values.astype(np.float64) - weights).reshape(-1, 32)
    return (misses**2).sum(1)


def family(name, rows=192):
    weights = FAMILIES[name](np.random.default_rng(41), (rows, 256))
    return (0.02 * weights).astype(np.float32)


def relative_error(format, weights):
    """Root mean square, of that of the weights."""
    error = errors(unpack(engine("portable", 2).pack(weights, format)), weights).sum()
    return float(np.sqrt(error / (weights.astype(np.float64) ** 2).sum()))


def specified(blocks, x):
    """Block by block, fma(scale * scale of x, dot, total)."""
    scales = halves_of(blocks, "IQ4_NL")[..., 0].astype(np.float32)
    nibbles = blocks.reshape(*scales.shape, 18)[..., 2:]
    levels = GRID.astype(np.int32)[np.concatenate([nibbles & 15, nibbles >> 4], -1)]
    quants, scales_of_x = engine().quantise(x)
    dots = np.einsum("xbi,wbi->bxw", quants.astype(np.int32), levels)
    factors = scales.T[:, None] * scales_of_x.T[:, :, None]
    steps = len(dots)
    total = sum_of_products(factors.reshape(steps, -1), dots.astype(np.float32).reshape(steps, -1))
    return total.reshape(len(x), len(blocks))


@pytest.mark.parametrize("shape", [(1, 32), (17, 96), (192, 576), (40, 1536)])
@pytest.mark.parametrize("variant", EVERY_VARIANT)
def test_products_are_what_numpy_specifies_to_the_bit_for_any_number_of_rows(variant, shape):
    blocks = random_blocks(1, "IQ4_NL", *shape)
    matrix = packed_from_ggml("IQ4_NL", blocks, shape[1])
    x = random(2, 17, shape[1])
    expected = specified(blocks, x)
    for rows in range(1, 18):
        assert_same_bits(engine(variant).linear(x[:rows], matrix), expected[:rows])


@pytest.mark.parametrize("nibble", range(16))
@pytest.mark.parametrize("variant", EVERY_VARIANT)
def test_every_level_times_the_largest_activations_is_exact(variant, nibble):
    """With the lowest level, the largest sums that the integer parts can meet."""
    blocks = np.full((16, 4 * 18), nibble * 17, np.uint8)
    halves_of(blocks, "IQ4_NL")[...] = 1
    matrix = packed_from_ggml("IQ4_NL", blocks, 128)
    x = np.full((9, 128), 127, np.float32)  # of which the scale is one
    x[1] = -127
    x[2, ::2] = -127
    x[3, ::4] = x[3, 1::4] = -127
    got = engine(variant).linear(x, matrix)
    assert_same_bits(got, np.repeat(x.sum(1, keepdims=True) * GRID[nibble] + 0, 16, axis=1))


def test_values_are_levels_of_the_grid_of_ggml_times_a_half():
    weights = random(3, 32, 64)
    matrix = engine().pack(weights, "q4n")
    scales = matrix.data.reshape(-1, 288)[:, :32].copy().view(np.float16)
    scales = scales.reshape(2, 2, 16).transpose(0, 2, 1).reshape(-1, 1).astype(np.float32)
    expected = nearest_on_grid(weights.reshape(-1, 32), scales)
    assert_same_bits(unpack(matrix).reshape(-1, 32), expected)


def test_values_that_are_on_the_grid_already_are_kept():
    levels = GRID[np.random.default_rng(5).integers(0, 16, (64, 96))]
    levels[:, ::32], levels[:, 1::32] = -127, 113
    for scale in (0.0123, -0.0123):
        weights = levels * np.float32(np.float16(scale))
        assert_same_bits(unpack(engine().pack(weights, "q4n")), weights)


@pytest.mark.parametrize("name", FAMILIES)
def test_no_block_is_farther_away_than_with_its_largest_weight_at_either_end(name):
    weights = family(name)
    ours = errors(unpack(engine().pack(weights, "q4n")), weights)
    blocks = weights.reshape(-1, 32)
    extremes = np.take_along_axis(blocks, np.abs(blocks).argmax(1)[:, None], 1)
    for end in (-127, 113):
        simple = errors(nearest_on_grid(blocks, halves(extremes / np.float32(end))), blocks)
        assert (ours <= simple * (1 + 1e-5)).all()
    assert ours.sum() < 0.9 * simple.sum()


def test_scales_are_near_the_best_of_a_dense_search():
    weights = family("gaussian", 8)
    ours = errors(unpack(engine().pack(weights, "q4n")), weights)
    blocks = weights.reshape(-1, 32)
    peaks = np.abs(blocks).max(1, keepdims=True)
    best = np.full(len(blocks), np.inf)
    for level in np.linspace(85, 175, 721, dtype=np.float32):
        for scales in (halves(peaks / level), halves(-peaks / level)):
            best = np.minimum(best, errors(nearest_on_grid(blocks, scales), blocks))
    assert ours.sum() <= 1.005 * best.sum()


@pytest.mark.parametrize(
    ("name", "most", "of_q4"),
    [
        ("gaussian", 0.0738, 0.92),
        ("student-t", 0.0935, 0.84),
    ],
)
def test_weights_of_usual_distributions_are_nearer_than_in_q4(name, most, of_q4):
    weights = family(name)
    ours = relative_error("q4n", weights)
    assert ours < most
    assert ours < of_q4 * relative_error("q4", weights)

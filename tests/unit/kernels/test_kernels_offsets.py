"""Products with nibbles that have a minimum, q4_1 and q4k: numpy says what each bit is."""

import gguf
import numpy as np
import pytest

from pi_cluster.kernels import Matrix, packed_from_ggml, unpack
from pi_cluster.kernels.fused_sums import sum_of_products
from tests.support.ggml_blocks import halves_of, random_blocks
from tests.support.kernel_engines import EVERY_VARIANT, assert_same_bits, engine, random

TYPES = {"q4_1": "Q4_1", "q4k": "Q4_K"}
SHAPES = {
    "q4_1": [(1, 32), (17, 96), (192, 576), (40, 1536)],
    "q4k": [(1, 256), (17, 512), (40, 1536)],
}
EVERY_SHAPE = [(form, shape) for form, shapes in SHAPES.items() for shape in shapes]


def blocks_and_matrix(seed, form, rows, columns):
    blocks = random_blocks(seed, TYPES[form], rows, columns)
    return blocks, packed_from_ggml(TYPES[form], blocks, columns)


def parts_of(form, blocks):
    """Nibbles, scales and offsets of each 32 columns: ``(rows, n, 32)``, ``(rows, n)`` twice."""
    first, second = np.moveaxis(halves_of(blocks, TYPES[form]).astype(np.float32), -1, 0)
    if form == "q4_1":
        bytes_of = blocks.reshape(*first.shape, 20)[..., 4:]
        return np.concatenate([bytes_of & 15, bytes_of >> 4], -1), first, second
    of_blocks = blocks.reshape(*first.shape, 144)
    packed = of_blocks[..., 4:16].reshape(*first.shape, 3, 4)
    low, high, both = packed[..., 0, :], packed[..., 1, :], packed[..., 2, :]
    scales = np.concatenate([low & 63, both & 15 | low >> 6 << 4], -1).astype(np.float32)
    minima = np.concatenate([high & 63, both >> 4 | high >> 6 << 4], -1).astype(np.float32)
    pieces = of_blocks[..., 16:].reshape(*first.shape, 4, 1, 32)
    nibbles = np.concatenate([pieces & 15, pieces >> 4], -2)
    rows = len(blocks)
    return (
        nibbles.reshape(rows, -1, 32),
        (first[..., None] * scales).reshape(rows, -1),
        -(second[..., None] * minima).reshape(rows, -1),
    )


def specified(form, blocks, x):
    """Block by block, fma(scale * scale of x, dot, total), then fma(offset, sum of x, total)."""
    nibbles, scales, offsets = parts_of(form, blocks)
    quants, scales_of_x = engine().quantise(x)
    dots = np.einsum("xbi,wbi->bxw", quants.astype(np.int32), nibbles.astype(np.int32))
    sums_of_x = scales_of_x * quants.sum(-1, dtype=np.int32).astype(np.float32)
    factors = np.stack(
        [
            scales.T[:, None] * scales_of_x.T[:, :, None],
            np.broadcast_to(offsets.T[:, None], dots.shape),
        ],
        1,
    )
    others = np.stack(
        [dots.astype(np.float32), np.broadcast_to(sums_of_x.T[:, :, None], dots.shape)], 1
    )
    steps = 2 * len(dots)
    total = sum_of_products(factors.reshape(steps, -1), others.reshape(steps, -1))
    return total.reshape(len(x), len(blocks))


@pytest.mark.parametrize(("form", "shape"), EVERY_SHAPE)
@pytest.mark.parametrize("variant", EVERY_VARIANT)
def test_products_are_what_numpy_specifies_to_the_bit_for_any_number_of_rows(variant, form, shape):
    blocks, matrix = blocks_and_matrix(1, form, *shape)
    x = random(2, 17, shape[1])
    expected = specified(form, blocks, x)
    for rows in range(1, 18):
        assert_same_bits(engine(variant).linear(x[:rows], matrix), expected[:rows])


@pytest.mark.parametrize("form", TYPES)
def test_products_are_near_those_of_the_values_that_gguf_reads(form):
    blocks, matrix = blocks_and_matrix(3, form, 48, 768)
    x = random(4, 5, 768)
    values = gguf.dequantize(blocks, gguf.GGMLQuantizationType[TYPES[form]]).astype(np.float64)
    quants, scales = engine().quantise(x)
    rounded = (quants * scales[..., None].astype(np.float64)).reshape(x.shape)
    np.testing.assert_allclose(engine().linear(x, matrix), rounded @ values.T, atol=5e-5)


@pytest.mark.parametrize("form", TYPES)
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("variant", EVERY_VARIANT)
def test_neither_threads_nor_the_rest_of_the_batch_change_a_row(variant, threads, form):
    _, matrix = blocks_and_matrix(5, form, 530, 256)
    x = random(6, 37, 256)
    expected = engine().linear(x, matrix)
    assert_same_bits(engine(variant, threads).linear(x, matrix), expected)
    for start, stop in ((0, 1), (7, 20), (30, 37)):
        got = engine(variant, threads).linear(x[start:stop], matrix)
        assert_same_bits(got, expected[start:stop])


@pytest.mark.parametrize("form", TYPES)
@pytest.mark.parametrize("variant", EVERY_VARIANT)
def test_extreme_rows_neither_crash_nor_differ(variant, form):
    _, matrix = blocks_and_matrix(7, form, 20, 256)
    x = random(8, 9, 256)
    x[0] *= np.float32(1e30)
    x[1] *= np.float32(1e-30)
    x[2] = np.float32(1e-42)
    x[3] = -0.0
    x[4, 5], x[5, 5], x[6, 40] = np.inf, -np.inf, np.nan
    x[7] = np.finfo(np.float32).max
    got = engine(variant).linear(x, matrix)
    assert_same_bits(got, engine().linear(x, matrix))
    assert not np.isfinite(got[4:7]).any(), "an infinity or a NaN must be seen"
    assert np.isfinite(got[[0, 1, 2, 3, 8]]).all()


@pytest.mark.parametrize("form", TYPES)
@pytest.mark.parametrize("byte", [0x00, 0x80, 0xFF, 0x7F, 0x08])
@pytest.mark.parametrize("variant", EVERY_VARIANT)
def test_any_bytes_at_all_give_the_same_result_everywhere(variant, byte, form):
    """The largest sums that the integer parts can meet, and scales that are no numbers."""
    _, matrix = blocks_and_matrix(9, form, 32, 512)
    data = matrix.data.copy().reshape(-1, {"q4_1": 320, "q4k": 2304}[form])
    x = np.ones((3, 512), np.float32)
    x[1] = -1
    x[2, ::2] = -1
    for start in (64, 0):
        data[:, start:] = byte
        hostile = Matrix(form, 32, 512, data.reshape(-1))
        assert_same_bits(engine(variant).linear(x, hostile), engine().linear(x, hostile))


@pytest.mark.parametrize("form", TYPES)
def test_the_product_with_a_unit_row_is_a_column_of_the_values(form):
    _, matrix = blocks_and_matrix(10, form, 33, 256)
    values = unpack(matrix)
    for column in (0, 15, 16, 31, 32, 100, 255):
        x = np.zeros((1, 256), np.float32)
        x[0, column] = 1
        got = engine().linear(x, matrix)[0]
        np.testing.assert_allclose(got, values[:, column], rtol=1e-5, atol=1e-6)

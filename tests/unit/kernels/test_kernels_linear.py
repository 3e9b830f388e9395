import numpy as np
import pytest

from pi_cluster.kernels import PACKABLE_FORMATS, Matrix, ShapeError
from tests.support.kernel_engines import EVERY_VARIANT, assert_same_bits, engine, packed, random

SHAPES = [(16, 32), (17, 64), (40, 96), (1, 32), (131, 512)]


def exact(x, values):
    return x.astype(np.float64) @ values.T.astype(np.float64)


@pytest.mark.parametrize("format", PACKABLE_FORMATS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("variant", EVERY_VARIANT)
def test_products_are_near_the_exact_ones_and_the_same_bits_everywhere(variant, shape, format):
    matrix, values = packed(0, *shape, format)
    x = random(1, 17, shape[1])
    expected = engine().linear(x, matrix)
    # Rounding x to int8 costs about 0.4 % of its norm.
    tolerance = 2e-6 if format.startswith("f") else 0.05
    assert np.abs(expected - exact(x, values)).max() < tolerance
    for rows in range(1, 18):
        assert_same_bits(engine(variant).linear(x[:rows], matrix), expected[:rows])


@pytest.mark.parametrize("format", ["q4", "q4n", "q8"])
def test_a_quantised_product_is_exactly_that_of_the_rounded_rows(format):
    matrix, values = packed(2, 48, 256, format)
    x = random(3, 5, 256)
    quants, scales = engine().quantise(x)
    rounded = (quants * scales[..., None].astype(np.float64)).reshape(x.shape)
    np.testing.assert_allclose(engine().linear(x, matrix), exact(rounded, values), atol=2e-6)


@pytest.mark.parametrize("format", PACKABLE_FORMATS)
@pytest.mark.parametrize("variant", EVERY_VARIANT)
def test_a_fine_product_is_a_hundred_times_as_near_and_the_same_bits_everywhere(variant, format):
    matrix, values = packed(12, 48, 256, format)
    x = random(13, 9, 256)
    x[8, 3] = np.nan
    fine, coarse = engine().fine_linear(x, matrix), engine().linear(x, matrix)
    for rows in (1, 4, 9):
        assert_same_bits(engine(variant).fine_linear(x[:rows], matrix), fine[:rows])
    assert np.isnan(fine[8]).all()
    expected = exact(x[:8], values)
    far, near = (np.abs(got[:8] - expected).max() for got in (coarse, fine))
    assert near < max(far / 100, 4e-6)
    assert matrix.is_quantised or np.array_equal(fine[:8], coarse[:8])


@pytest.mark.parametrize("format", PACKABLE_FORMATS)
@pytest.mark.parametrize("threads", [1, 2, 3, 4])
@pytest.mark.parametrize("variant", EVERY_VARIANT)
def test_neither_threads_nor_the_rest_of_the_batch_change_a_row(variant, threads, format):
    matrix, _ = packed(4, 530, 64, format)
    x = random(5, 37, 64)
    expected = engine().linear(x, matrix)
    assert_same_bits(engine(variant, threads).linear(x, matrix), expected)
    for start, stop in ((0, 1), (7, 20), (30, 37)):
        got = engine(variant, threads).linear(x[start:stop], matrix)
        assert_same_bits(got, expected[start:stop])


@pytest.mark.parametrize("format", ["f32", "f16"])
@pytest.mark.parametrize("columns", [1, 7, 15, 16, 20, 33])
@pytest.mark.parametrize("variant", EVERY_VARIANT)
def test_plain_matrices_may_have_any_number_of_columns(variant, columns, format):
    matrix, values = packed(6, 5, columns, format)
    x = random(7, 6, columns)
    got = engine(variant).linear(x, matrix)
    np.testing.assert_allclose(got, exact(x, values), atol=2e-6)
    assert_same_bits(got, engine().linear(x, matrix))


@pytest.mark.parametrize("format", PACKABLE_FORMATS)
@pytest.mark.parametrize("variant", EVERY_VARIANT)
def test_extreme_rows_neither_crash_nor_differ(variant, format):
    matrix, _ = packed(8, 20, 64, format)
    x = random(9, 12, 64)
    x[0] *= np.float32(1e30)
    x[1] *= np.float32(1e-30)
    x[2] = np.float32(1e-42)
    x[3] = 0.0
    x[4, 5] = np.inf
    x[5, 5] = -np.inf
    x[6, 40] = np.nan
    x[7] = np.finfo(np.float32).max
    x[8, ::2], x[8, 1::2] = 1e38, -1e-38
    x[9] = -0.0
    got = engine(variant).linear(x, matrix)
    assert_same_bits(got, engine().linear(x, matrix))
    assert not np.isfinite(got[4:7]).any(), "an infinity or a NaN must be seen"
    assert np.isfinite(got[[1, 2, 3, 9, 10, 11]]).all()


@pytest.mark.parametrize("format", ["q4", "q4n", "q8"])
@pytest.mark.parametrize("byte", [0x00, 0x80, 0xFF, 0x7F, 0x08])
@pytest.mark.parametrize("variant", EVERY_VARIANT)
def test_any_bytes_at_all_give_the_same_result_everywhere(variant, byte, format):
    """The largest sums that the integer parts can meet, and scales that are no numbers."""
    matrix, _ = packed(10, 32, 128, format)
    data = matrix.data.copy().reshape(-1, 544 if format == "q8" else 288)
    data[:, 32:] = byte
    hostile = Matrix(format, 32, 128, data.reshape(-1))
    x = np.ones((3, 128), np.float32)
    x[1] = -1
    x[2, ::2] = -1
    assert_same_bits(engine(variant).linear(x, hostile), engine().linear(x, hostile))
    data[:] = byte
    assert_same_bits(engine(variant).linear(x, hostile), engine().linear(x, hostile))


def test_rows_are_rounded_to_the_nearest_of_255_levels():
    x = random(11, 3, 96)
    quants, scales = engine().quantise(x)
    assert np.abs(quants).max(-1).min() == 127
    error = np.abs(quants * scales[..., None] - x.reshape(3, 3, 32))
    assert (error <= scales[..., None] * 0.5001).all()


@pytest.mark.parametrize(
    ("x", "why"),
    [
        (np.zeros((2, 64), np.float64), "float64"),
        (np.zeros((2, 32), np.float32), r"\(rows, 64\)"),
        (np.zeros(64, np.float32), r"\(64,\)"),
        (np.zeros((0, 64), np.float32), "1 to 4096 rows"),
    ],
)
def test_rows_that_do_not_fit_the_matrix_are_refused(x, why):
    with pytest.raises(ShapeError, match=why):
        engine().linear(x, packed(12, 16, 64, "q4")[0])

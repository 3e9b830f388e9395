"""Linear maps, norms and activations against values by hand and against float64."""

import numpy as np
import pytest

from pi_cluster.transformer.arithmetic import linear, rms_norm, silu, swiglu


def random_floats(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def test_rms_norm_of_the_worked_example():
    # The squares 4 + 9 + 16 + 1 have the mean 7.5, whose root is 2.7386128.
    normed = rms_norm(np.float32([[2, -3, 4, -1]]), np.ones(4, np.float32), 0.0)
    expected = [[0.7302967, -1.0954451, 1.4605935, -0.3651484]]
    np.testing.assert_allclose(normed, expected, rtol=0, atol=2e-7)
    assert normed.dtype == np.float32


def test_rms_norm_multiplies_by_the_gain_of_each_column():
    normed = rms_norm(np.float32([[2, -3, 4, -1]]), np.float32([1, 2, 0.5, 0]), 0.0)
    expected = [[0.7302967, -2.1908902, 0.7302967, 0]]
    np.testing.assert_allclose(normed, expected, rtol=0, atol=4e-7)


def test_rms_norm_adds_eps_to_the_mean_square_inside_the_root():
    # A mean square of 9 and an eps of 16 make a root of 5; outside of it they would make 7.
    normed = rms_norm(np.float32([[3, -3], [0, 0]]), np.ones(2, np.float32), 16.0)
    np.testing.assert_allclose(normed, [[0.6, -0.6], [0, 0]], rtol=0, atol=1e-7)


def test_rms_norm_of_a_row_does_not_depend_on_the_other_rows_to_the_bit():
    rows, gain = random_floats(1, 9, 130), random_floats(2, 130)
    together = rms_norm(rows, gain, 1e-5)
    for index in range(len(rows)):
        alone = rms_norm(rows[index : index + 1], gain, 1e-5)
        assert np.array_equal(together[index], alone[0])


# 4096 columns make blocks of 32 rows: 100 rows are three whole blocks and a part of one.
@pytest.mark.parametrize(("n_out", "n_in"), [(1, 1), (7, 3), (100, 4096), (64, 64), (33, 4097)])
@pytest.mark.parametrize("rows", [1, 5])
def test_linear_equals_a_float64_product(n_out, n_in, rows):
    x, weight = random_floats(n_in, rows, n_in), random_floats(n_out, n_out, n_in)
    expected = x.astype(np.float64) @ weight.T.astype(np.float64)
    magnitude = np.abs(x).astype(np.float64) @ np.abs(weight).T.astype(np.float64)
    result = linear(x, weight)
    assert result.dtype == np.float32
    assert result.shape == (rows, n_out)
    assert np.all(np.abs(result - expected) <= 1e-6 * magnitude)


def test_linear_widens_float16_weights_exactly():
    x, weight = random_floats(3, 4, 2048), random_floats(4, 150, 2048).astype(np.float16)
    assert np.array_equal(linear(x, weight), linear(x, weight.astype(np.float32)))


def test_linear_of_a_tiny_example_by_hand():
    weight = np.float32([[1, 2], [3, 4], [5, 6]])
    assert linear(np.float32([[1, 10], [-1, 0]]), weight).tolist() == [[21, 43, 65], [-1, -3, -5]]


def test_linear_of_no_rows_is_no_rows():
    assert linear(np.empty((0, 8), np.float32), random_floats(5, 3, 8)).shape == (0, 3)


def test_silu_equals_its_formula_in_float64():
    x = np.linspace(-30, 30, 2001, dtype=np.float32)
    wide = x.astype(np.float64)
    np.testing.assert_allclose(silu(x), wide / (1 + np.exp(-wide)), rtol=1e-6, atol=0)
    assert silu(x).dtype == np.float32


def test_silu_at_extremes_is_finite_and_gives_no_warning():
    largest = np.finfo(np.float32).max
    x = np.float32([-largest, -1e4, -104, 0, 104, 1e4, largest])
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        assert silu(x).tolist() == pytest.approx([0, 0, 0, 0, 104, 1e4, largest], abs=1e-38)


def test_swiglu_equals_the_plain_formula():
    gate, up = 5 * random_floats(6, 3, 20), random_floats(7, 3, 20)
    wide = gate.astype(np.float64)
    expected = wide / (1 + np.exp(-wide)) * up
    np.testing.assert_allclose(swiglu(gate, up), expected, rtol=1e-6, atol=0)

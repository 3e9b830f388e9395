import numpy as np
import pytest

from pi_cluster.kernels import ShapeError
from pi_cluster.transformer.arithmetic import rms_norm, silu
from pi_cluster.transformer.rope import rope_angles, rope_interleaved
from tests.support.kernel_engines import EVERY_VARIANT, assert_same_bits, engine, random

SPECIAL = np.array(
    [
        0.0,
        -0.0,
        1e-45,
        -1e-40,
        1e-38,
        86.9,
        -86.9,
        87.1,
        -87.1,
        88.8,
        -104,
        1e30,
        -1e30,
        3.4e38,
        np.inf,
        -np.inf,
        np.nan,
    ],
    np.float32,
)


@pytest.mark.parametrize("dim", [1, 15, 16, 32, 100, 4096])
@pytest.mark.parametrize("variant", EVERY_VARIANT)
def test_rms_norm_is_that_of_numpy_and_the_same_bits_everywhere(variant, dim):
    x, gain = random(0, 17, dim), random(1, dim)
    got = engine(variant).rms_norm(x, gain, 1e-5)
    np.testing.assert_allclose(got, rms_norm(x, gain, 1e-5), rtol=2e-6, atol=1e-7)
    assert_same_bits(got, engine().rms_norm(x, gain, 1e-5))
    assert_same_bits(engine(variant, 2).rms_norm(x[5:6], gain, 1e-5), got[5:6])


@pytest.mark.parametrize("variant", EVERY_VARIANT)
def test_rms_norm_of_extreme_rows_is_the_same_bits_everywhere(variant):
    x = random(2, len(SPECIAL), 40)
    x[:, 3] = SPECIAL
    gain = random(3, 40)
    got = engine(variant).rms_norm(x, gain, 1e-5)
    assert_same_bits(got, engine().rms_norm(x, gain, 1e-5))


@pytest.mark.parametrize("variant", EVERY_VARIANT)
def test_swiglu_is_that_of_numpy_and_the_same_bits_everywhere(variant):
    gate, up = random(4, 9, 1001) * 20, random(5, 9, 1001)
    got = engine(variant).swiglu(gate, up)
    np.testing.assert_allclose(got, silu(gate) * up, rtol=1e-6, atol=1e-37)
    assert_same_bits(got, engine().swiglu(gate, up))


@pytest.mark.parametrize("variant", EVERY_VARIANT)
def test_swiglu_of_extreme_values_neither_crashes_nor_differs(variant):
    gate = np.tile(SPECIAL, (1, 2))
    up = np.ones_like(gate)
    got = engine(variant).swiglu(gate, up)
    assert_same_bits(got, engine().swiglu(gate, up))
    with np.errstate(all="ignore"):
        expected = silu(gate)
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-35)


@pytest.mark.parametrize("count", range(1, 35))
def test_swiglu_takes_any_number_of_values(count):
    gate, up = random(6, 1, count), random(7, 1, count)
    for variant in EVERY_VARIANT:
        assert_same_bits(engine(variant).swiglu(gate, up), engine().swiglu(gate, up))


@pytest.mark.parametrize(
    ("head_dim", "rotary_dim"), [(2, 2), (8, 8), (64, 64), (128, 128), (128, 96), (96, 2)]
)
def test_rope_is_that_of_numpy_to_the_bit(head_dim, rotary_dim):
    x = random(8, 5, 3, head_dim)
    angles = rope_angles(np.arange(40_000, 40_005), rotary_dim, 1e6)
    assert_same_bits(engine().rope(x, *angles), rope_interleaved(x, *angles))


def test_arrays_that_do_not_belong_together_are_refused():
    x = random(9, 2, 8)
    with pytest.raises(ShapeError, match="gain"):
        engine().rms_norm(x, random(9, 9), 1e-5)
    with pytest.raises(ShapeError, match="up"):
        engine().swiglu(x, random(9, 2, 9))
    with pytest.raises(ShapeError, match="cos"):
        engine().rope(random(9, 2, 1, 8), random(9, 2, 3), random(9, 2, 4))
    with pytest.raises(ShapeError, match="heads of 8"):
        engine().rope(random(9, 2, 1, 8), random(9, 2, 5), random(9, 2, 5))
    with pytest.raises(ShapeError, match="angles"):
        engine().rope(random(9, 2, 1, 8), random(9, 1, 4), random(9, 2, 4))

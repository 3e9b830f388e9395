import numpy as np
import pytest

from pi_cluster.kernels import (
    FORMATS,
    PACKABLE_FORMATS,
    Matrix,
    NumpyPacker,
    ShapeError,
    packed_bytes,
    rows_of,
    unpack,
)
from tests.support.kernel_engines import EVERY_VARIANT, assert_same_bits, engine, random

HALF = np.float16


def ggml_q4_0(weights):
    """The values of ggml's own rounding to Q4_0."""
    blocks = weights.reshape(-1, 32)
    extreme = np.take_along_axis(blocks, np.abs(blocks).argmax(1)[:, None], 1)
    scale = extreme / np.float32(-8)
    levels = np.clip(np.floor(blocks / scale + 8.5), 0, 15) - 8
    return (scale.astype(HALF).astype(np.float32) * levels).reshape(weights.shape)


def squared_error(values, weights):
    return float(((values - weights) ** 2).sum())


@pytest.mark.parametrize("format", PACKABLE_FORMATS)
def test_a_matrix_has_the_bytes_that_its_shape_asks_for(format):
    matrix = engine().pack(random(0, 21, 64), format)
    per_group = {"f32": 21 * 64 * 4, "f16": 21 * 64 * 2, "q8": 2 * 2 * 544}
    per_group |= {"q4": 2 * 2 * 288, "q4n": 2 * 2 * 288}
    assert matrix.data.nbytes == packed_bytes(format, 21, 64) == per_group[format]


@pytest.mark.parametrize("format", ["q8", "q4", "q4n"])
@pytest.mark.parametrize("variant", EVERY_VARIANT)
def test_every_variant_and_thread_count_packs_the_same_bytes(variant, format):
    weights = random(1, 45, 160)
    expected = engine().pack(weights, format).data
    for threads in (1, 3):
        assert_same_bits(engine(variant, threads).pack(weights, format).data, expected)


def test_q4_values_lie_on_the_grid_of_ggml():
    values = unpack(engine().pack(random(2, 32, 64), "q4")).reshape(-1, 32)
    for block in values:
        steps = np.unique(np.abs(block[block != 0]))
        scales = [s for n in range(1, 9) if (s := np.float32(steps[0] / n)) == HALF(s)]
        assert any(
            np.isin(np.round(block / s), np.arange(-8, 9)).all()
            and np.allclose(block / s, np.round(block / s), atol=1e-6)
            for s in scales
        )


def test_q4_is_nearer_to_the_weights_than_ggml_s_rounding():
    weights = random(3, 256, 256)
    ours = squared_error(unpack(engine().pack(weights, "q4")), weights)
    assert ours < 0.90 * squared_error(ggml_q4_0(weights), weights)


def test_q4_scales_are_within_one_percent_of_the_best_of_a_dense_search():
    weights = random(4, 16, 32)
    values = unpack(engine().pack(weights, "q4"))
    for row, value in zip(weights, values, strict=True):
        peak = np.abs(row).max()
        scales = np.linspace(peak / 12, peak / 4, 4001, dtype=np.float32).astype(HALF)
        scales = np.concatenate((scales, -scales)).astype(np.float32)[:, None]
        levels = np.clip(np.round(row / scales), -8, 7)
        best = ((levels * scales - row) ** 2).sum(1).min()
        assert squared_error(value, row) <= 1.01 * best


def test_q4_keeps_values_that_are_on_the_grid_already():
    levels = np.random.default_rng(5).integers(-8, 8, (64, 96)).astype(np.float32)
    levels[:, ::32] = -8
    weights = levels * np.float32(HALF(0.0123))
    assert_same_bits(unpack(engine().pack(weights, "q4")), weights)


def test_q8_is_within_half_a_step_and_its_scale_s_rounding():
    weights = random(6, 48, 64)
    values = unpack(engine().pack(weights, "q8"))
    peaks = np.abs(weights.reshape(-1, 32)).max(1)
    error = np.abs(values - weights).reshape(-1, 32).max(1)
    assert (error <= peaks / 127 * 0.57).all()  # 0.5, and 127 times half a unit of 2^-11


@pytest.mark.parametrize("format", ["q8", "q4", "q4n"])
def test_zeros_and_tiny_weights_become_zero(format):
    weights = np.zeros((16, 64), np.float32)
    weights[1] = 1e-40
    weights[2] = -1e-30
    assert not unpack(engine().pack(weights, format)).any()


@pytest.mark.parametrize("format", PACKABLE_FORMATS)
def test_rows_are_looked_up_one_by_one(format):
    matrix = engine().pack(random(7, 37, 64), format)
    wanted = np.array([36, 0, 17, 17])
    assert_same_bits(rows_of(matrix, wanted), unpack(matrix)[wanted])
    for outside in (-1, 37):
        with pytest.raises(ShapeError, match=r"0\.\.36"):
            rows_of(matrix, np.array([outside]))


def test_f16_and_f32_keep_their_values():
    halves = random(8, 5, 7).astype(HALF)
    assert_same_bits(unpack(Matrix.plain(halves)), halves.astype(np.float32))
    assert_same_bits(unpack(Matrix.plain(random(8, 5, 7))), random(8, 5, 7))


def test_every_half_is_widened_as_numpy_does():
    halves = np.arange(2**16, dtype=np.uint16).view(HALF).reshape(256, 256)
    assert_same_bits(unpack(Matrix.plain(halves)), halves.astype(np.float32))


@pytest.mark.parametrize(
    ("format", "rows", "columns", "why"),
    [
        ("q4", 16, 48, "48 is not a multiple"),
        ("q8", 16, 33, "33 is not a multiple"),
        ("q4n", 16, 48, "48 is not a multiple"),
        ("q4_1", 16, 48, "48 is not a multiple"),
        ("q4k", 16, 576, "blocks of 256 columns, and 576 is not a multiple"),
        ("q5", 16, 32, "no weight format 'q5'"),
        ("q4", 0, 32, "0 x 32"),
        ("f32", 2**40, 32, "not possible"),
    ],
)
def test_a_shape_that_a_format_cannot_hold_is_refused_by_name(format, rows, columns, why):
    with pytest.raises(ShapeError, match=why):
        packed_bytes(format, rows, columns)


@pytest.mark.parametrize("change", [-1, 1, 288])
def test_bytes_that_disagree_with_the_shape_are_refused(change):
    with pytest.raises(ShapeError, match="has 576 bytes"):
        Matrix("q4", 32, 32, np.zeros(576 + change, np.uint8))


def test_bytes_that_are_not_one_row_of_bytes_are_refused():
    for data in (np.zeros(1152, np.uint8)[::2], np.zeros((2, 288), np.uint8), np.zeros(576, "i1")):
        with pytest.raises(ShapeError, match="contiguous"):
            Matrix("q4", 32, 32, data)


@pytest.mark.parametrize(
    ("format", "bad"),
    [(form, bad) for form in ("q4", "q4n") for bad in (np.nan, np.inf, -np.inf, 1e7)]
    + [("q4", 1e6), ("q4n", 7.41e6)],
)
def test_a_weight_that_the_format_cannot_hold_is_refused(format, bad):
    weights = random(9, 16, 32)
    weights[3, 3] = bad
    with pytest.raises(ShapeError, match=f"{format} cannot hold"):
        engine().pack(weights, format)


@pytest.mark.parametrize("format", [name for name in FORMATS if name not in PACKABLE_FORMATS])
def test_floats_are_not_packed_to_formats_that_ggml_s_blocks_alone_are_kept_in(format):
    for packing in (engine(), NumpyPacker(1)):
        with pytest.raises(ShapeError, match=f"{format} is made of ggml's blocks alone.*f32.*q4"):
            packing.pack(random(10, 16, 256), format)

"""ggml's own blocks in the layout of the kernels: the values that ``gguf`` reads, to the bit."""

import gguf
import numpy as np
import pytest

from pi_cluster.kernels import GGML_FORMATS, ShapeError, packed_from_ggml, rows_of, unpack
from tests.support.ggml_blocks import HALVES, halves_of, random_blocks
from tests.support.kernel_engines import assert_same_bits

EVERY_TYPE = sorted(GGML_FORMATS)


def dequantized(ggml_type, blocks):
    return gguf.dequantize(blocks, gguf.GGMLQuantizationType[ggml_type])


def test_each_type_becomes_the_format_that_holds_its_values():
    assert GGML_FORMATS == {
        **{"Q4_0": "q4", "Q8_0": "q8", "Q4_1": "q4_1", "Q4_K": "q4k"},
        **{"Q5_0": "q8", "IQ4_NL": "q4n"},
    }


@pytest.mark.parametrize("ggml_type", EVERY_TYPE)
@pytest.mark.parametrize("shape", [(16, 256), (1, 512), (37, 768), (130, 1536)])
def test_values_are_those_of_gguf_to_the_bit_whatever_the_rows(ggml_type, shape):
    blocks = random_blocks(1, ggml_type, *shape)
    matrix = packed_from_ggml(ggml_type, blocks, shape[1])
    assert (matrix.format, matrix.rows, matrix.columns) == (GGML_FORMATS[ggml_type], *shape)
    assert_same_bits(unpack(matrix), dequantized(ggml_type, blocks))


@pytest.mark.parametrize("ggml_type", sorted(set(EVERY_TYPE) - {"Q4_K"}))
@pytest.mark.parametrize("columns", [32, 576, 192])
def test_columns_that_256_does_not_divide_are_kept_where_blocks_have_32(ggml_type, columns):
    blocks = random_blocks(2, ggml_type, 33, columns)
    matrix = packed_from_ggml(ggml_type, blocks, columns)
    assert_same_bits(unpack(matrix), dequantized(ggml_type, blocks))


@pytest.mark.parametrize("ggml_type", EVERY_TYPE)
@pytest.mark.parametrize("byte", [0x00, 0x0F, 0x5A, 0x7B, 0xF0, 0xFB, 0xFF])
@pytest.mark.parametrize("half", [65504.0, -65504.0, 2.0**-24, -(2.0**-14), 0.0, -0.0])
def test_extreme_blocks_are_kept_to_the_bit(ggml_type, byte, half):
    blocks = np.full_like(random_blocks(3, ggml_type, 17, 512), byte)
    halves_of(blocks, ggml_type)[...] = half
    matrix = packed_from_ggml(ggml_type, blocks, 512)
    assert_same_bits(unpack(matrix), dequantized(ggml_type, blocks))


@pytest.mark.parametrize("ggml_type", EVERY_TYPE)
def test_pieces_of_whole_groups_of_rows_make_the_bytes_of_the_whole(ggml_type):
    blocks = random_blocks(4, ggml_type, 77, 512)
    whole = packed_from_ggml(ggml_type, blocks, 512).data
    pieces = [packed_from_ggml(ggml_type, blocks[i : i + 32], 512).data for i in (0, 32, 64)]
    assert_same_bits(np.concatenate(pieces), whole)


@pytest.mark.parametrize("ggml_type", EVERY_TYPE)
def test_blocks_may_lie_anywhere_in_memory(ggml_type):
    blocks = random_blocks(5, ggml_type, 40, 512)
    expected = packed_from_ggml(ggml_type, blocks, 512).data
    shifted = np.frombuffer(b"." + blocks.tobytes(), np.uint8)[1:].reshape(blocks.shape)
    assert_same_bits(packed_from_ggml(ggml_type, shifted, 512).data, expected)
    assert_same_bits(packed_from_ggml(ggml_type, np.asfortranarray(blocks), 512).data, expected)


def test_rows_of_an_embedding_are_looked_up_one_by_one():
    blocks = random_blocks(6, "Q4_K", 37, 512)
    matrix = packed_from_ggml("Q4_K", blocks, 512)
    wanted = np.array([36, 0, 17, 17])
    assert_same_bits(rows_of(matrix, wanted), dequantized("Q4_K", blocks)[wanted])


@pytest.mark.parametrize("ggml_type", EVERY_TYPE)
@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_a_scale_or_minimum_that_is_no_number_is_refused_with_its_place(ggml_type, bad):
    for which in range(HALVES[ggml_type]):
        blocks = random_blocks(7, ggml_type, 40, 512)
        halves_of(blocks, ggml_type)[35, 1, which] = bad
        with pytest.raises(ShapeError, match=f"block 1 of row 35 of {ggml_type}.*damaged"):
            packed_from_ggml(ggml_type, blocks, 512)


@pytest.mark.parametrize(
    ("ggml_type", "blocks", "columns", "why"),
    [
        ("Q6_K", np.zeros((16, 210), np.uint8), 256, "Q6_K is none of the types.*Q4_K"),
        ("Q4_K", np.zeros((16, 144), np.uint8), 288, "blocks of 256 columns, and 288"),
        ("Q4_K", np.zeros((16, 143), np.uint8), 256, "rows of 143 bytes do not hold 256 values"),
        ("Q4_0", np.zeros((16, 36), np.uint8), 32, "rows of 36 bytes do not hold 32 values"),
        ("Q4_0", np.zeros((0, 18), np.uint8), 32, "0 x 32"),
        ("Q4_0", np.zeros(18, np.uint8), 32, r"uint8 \(18,\), not uint8 \(rows, bytes\)"),
        ("Q4_0", np.zeros((16, 18), np.int8), 32, "int8"),
    ],
)
def test_blocks_that_do_not_fit_are_refused_by_name(ggml_type, blocks, columns, why):
    with pytest.raises(ShapeError, match=why):
        packed_from_ggml(ggml_type, blocks, columns)

import gguf
import numpy as np
import pytest

from pi_cluster.shard_tool.gguf.decoding import decoded
from pi_cluster.shard_tool.gguf.ggml_types import TYPES

DECODED = [type_ for type_ in TYPES.values() if type_.is_plain or type_.rounded_to]


def random_blocks(type_, rows, columns):
    """Bytes of every value, with halves that are finite and not all of one size."""
    numbers = np.random.default_rng(type_.number)
    blocks = numbers.integers(0, 256, (rows, type_.row_bytes(columns)), np.uint8)
    if type_.name == "F32":
        return numbers.standard_normal((rows, columns), np.float32).view(np.uint8)
    halves = blocks.view(np.uint16)
    halves &= np.uint16(0xBFFF)  # of the exponent's bits, one is never set
    return blocks


@pytest.mark.parametrize("type_", DECODED, ids=lambda type_: type_.name)
def test_weights_are_those_of_the_gguf_package_to_the_bit(type_):
    blocks = random_blocks(type_, 7, 512)
    expected = gguf.dequantize(blocks, gguf.GGMLQuantizationType[type_.name])
    weights = decoded(type_, blocks, 512)
    assert weights.dtype == np.float32
    assert weights.shape == (7, 512)
    assert np.isfinite(weights).all()
    assert len(np.unique(weights)) > 500
    assert np.array_equal(weights.view(np.uint32), expected.view(np.uint32))


def test_formats_are_read_in_one_way_or_not_at_all():
    for type_ in TYPES.values():
        ways = [type_.is_plain, type_.kept_as is not None, type_.rounded_to is not None]
        assert sum(ways) == type_.is_read
    assert {type_.name for type_ in TYPES.values() if type_.is_read} == {
        *("F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K"),
        "IQ4_NL",
    }

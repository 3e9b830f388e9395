"""Steps of many rows, which share an unpacking of the weights: the bits of each row by itself."""

import pytest

from pi_cluster.kernels import packed_from_ggml
from tests.support.ggml_blocks import random_blocks
from tests.support.kernel_engines import EVERY_VARIANT, assert_same_bits, engine, packed, random

FROM_GGML = {"q4_1": "Q4_1", "q4k": "Q4_K"}
OUTPUTS, COLUMNS = 75, 1792
"""More groups, and more columns, than are worked on before the rest."""


def matrix_of(format):
    if kind := FROM_GGML.get(format):
        return packed_from_ggml(kind, random_blocks(21, kind, OUTPUTS, COLUMNS), COLUMNS)
    return packed(22, OUTPUTS, COLUMNS, format)[0]


@pytest.fixture(scope="module", params=["q4", "q4n", "q8", *FROM_GGML])
def one_by_one(request):
    """A matrix, rows, and what they give by a variant that has no panels."""
    matrix, x = matrix_of(request.param), random(23, 259, COLUMNS)
    return matrix, x, engine("portable", 2).linear(x, matrix)


@pytest.mark.parametrize("variant", EVERY_VARIANT)
@pytest.mark.parametrize("rows", [15, 16, 17, 18, 19, 255, 256, 257, 259])
def test_many_rows_have_the_bits_of_few(one_by_one, variant, rows):
    matrix, x, expected = one_by_one
    assert_same_bits(engine(variant).linear(x[-rows:], matrix), expected[-rows:])


@pytest.mark.parametrize("variant", EVERY_VARIANT)
def test_many_rows_on_several_threads_have_the_bits_of_few(one_by_one, variant):
    matrix, x, expected = one_by_one
    assert_same_bits(engine(variant, 3).linear(x, matrix), expected)

"""What bench-quality says of formats: llama.cpp's choice of types, and which aims were reached."""

import numpy as np
import pytest

from benchmarks.quality.formats import NotMeasured, shard
from benchmarks.quality.peer_formats import FORMATS, Peer, gets_more_bits
from benchmarks.quality.report import MIXTURE, PEER_MIXTURE, Row, goals
from pi_cluster.coordinator.evaluating.divergence import Compared
from pi_cluster.coordinator.evaluating.figures import Quality

BY_NAME = {way.name: way for way in FORMATS}


def test_llama_cpp_gives_more_bits_to_both_ends_and_to_every_third_layer_between():
    assert [layer for layer in range(32) if gets_more_bits(layer, 32)] == [
        *(0, 1, 2, 3, 6, 9, 12, 15, 18, 21, 24, 27, 28, 29, 30, 31)
    ]


@pytest.mark.parametrize(
    ("way", "matrix", "columns", "wanted"),
    [
        ("Q4_K_M", "layers.0.attention.wv.weight", 4096, "Q6_K"),
        ("Q4_K_M", "layers.4.attention.wv.weight", 4096, "Q4_K"),
        ("Q4_K_M", "layers.0.attention.wq.weight", 4096, "Q4_K"),
        ("Q4_K_M", "layers.0.attention.wq.weight", 576, "Q4_K"),
        ("Q4_K_M with its fallbacks", "layers.0.attention.wq.weight", 576, "Q5_0"),
        ("Q4_K_M with its fallbacks", "layers.0.attention.wv.weight", 576, "Q8_0"),
        ("Q4_K_M with its fallbacks", "layers.31.feed_forward.w2.weight", 1536, "Q6_K"),
        ("IQ4_NL", "layers.0.feed_forward.w2.weight", 576, "IQ4_NL"),
    ],
)
def test_a_matrix_gets_the_type_that_llama_cpp_gives_it(way, matrix, columns, wanted):
    assert BY_NAME[way].type_of(matrix, columns, 32) == wanted


def test_super_blocks_run_on_over_as_many_rows_as_make_them_whole():
    assert BY_NAME["Q4_K_M"].columns_of(576) == 4 * 576
    assert BY_NAME["Q4_K_M"].columns_of(4096) == 4096
    assert BY_NAME["Q4_K_M with its fallbacks"].columns_of(576) == 576


def test_a_python_without_the_peer_is_told_what_is_missing(tmp_path):
    with pytest.raises(NotMeasured, match="a Python that has libgguf"):
        Peer("false", tmp_path)


def test_what_the_command_refuses_is_not_measured_and_says_why(tmp_path):
    with pytest.raises(NotMeasured, match=r"pi-cluster shard: .*'q99' is not one of"):
        shard(tmp_path, tmp_path / "store", "--weights", "q99")


def row(name: str, divergence: float, bits: float = 4.5) -> Row:
    compared = Compared(np.zeros(2), np.full(2, divergence), np.ones(2, np.bool_))
    return Row(name, bits, quality=Quality.of([[-1.0, -1.0]], 4, compared))


def test_an_aim_is_judged_by_the_rows_that_were_measured():
    assert goals([row("q4", 0.1), row("q4n", 0.05)]) == [
        "q4n's divergence : q4's <= 0.6: 0.500, reached"
    ]
    assert goals([row("q4", 0.1), row("q4n", 0.07)])[0].endswith("0.700, MISSED")
    assert "could be judged" in goals([row("q4", 0.1), Row("q4n", reason="absent")])[0]


@pytest.mark.parametrize(
    ("divergence", "bits", "word"),
    [(0.02, 4.7, "reached"), (0.04, 4.7, "MISSED"), (0.02, 4.9, "MISSED")],
)
def test_a_mixture_must_be_as_near_with_no_more_bits(divergence, bits, word):
    (said,) = goals([row(MIXTURE, divergence, bits), row(PEER_MIXTURE, 0.03, 4.8)])
    assert said.endswith(word)

"""llama.cpp's importance files: what they say of a model, and which ones are refused and why."""

import hashlib
import re
import struct

import numpy as np
import pytest

from pi_cluster.cluster.errors import CheckpointError
from pi_cluster.shard_tool.importance.imatrix import Imatrix
from pi_cluster.shard_tool.importance.importance import weighable
from pi_cluster.shard_tool.sources.checkpoint import open_checkpoint
from tests.support.checkpoints import SMALL, small_config, write_hugging_face_checkpoint
from tests.support.gguf_models import gguf_name
from tests.support.imatrices import TOKENS, random_sums, write_imatrix


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    write_hugging_face_checkpoint(folder)
    with open_checkpoint(folder) as opened:
        yield opened


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.imatrix.gguf"


def refusal(path, checkpoint):
    with pytest.raises(CheckpointError) as caught:
        Imatrix(path).importance(checkpoint)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_each_matrix_has_the_mean_of_squares_of_its_input(path, checkpoint):
    sums = random_sums(SMALL)
    write_imatrix(path, sums)
    importance = Imatrix(path).importance(checkpoint)
    assert importance.means.keys() == weighable(SMALL).keys()
    for name, means in importance.means.items():
        np.testing.assert_array_equal(means, sums[gguf_name(name)] / np.float32(TOKENS))
        assert means.dtype == np.float32
    assert importance.of("feed_forward.w2.weight", 2).shape == (SMALL.layers[0].hidden_dim,)
    assert (
        importance.of("attention.wo.weight", 1) is importance.means["layers.1.attention.wo.weight"]
    )
    assert importance.of("output.weight") is importance.means["output.weight"]
    assert importance.of("tok_embeddings.weight") is None


def test_it_says_where_it_comes_from(path, checkpoint):
    write_imatrix(path, random_sums(SMALL))
    source = Imatrix(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    origin = source.importance(checkpoint).origin
    assert (origin.kind, origin.file_name, origin.sha256) == ("imatrix", path.name, digest)
    assert origin.tokens == TOKENS
    assert digest in source.identity


def test_the_head_may_lack_as_it_does_by_default(path, checkpoint):
    sums = random_sums(SMALL)
    del sums["output.weight"]
    write_imatrix(path, sums)
    importance = Imatrix(path).importance(checkpoint)
    assert importance.of("output.weight") is None
    assert len(importance.means) == 7 * SMALL.n_layers


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"n_layers": 2}, r"not whole, or of another model: it has nothing on blk\.2\..* 6 more"),
        ({"n_layers": 4}, r"of another model: it has blk\.3\."),
        ({"hidden_dim": 128}, r"another model: 'blk\.0\.ffn_down.*128 numbers.* takes 96"),
        ({"dim": 96}, r"another model: 'blk\.0\.attn_q.*96 numbers.* takes 64"),
    ],
)
def test_the_file_of_another_model_is_refused_with_what_does_not_fit(
    path, checkpoint, changes, why
):
    write_imatrix(path, random_sums(small_config(**changes)))
    sentence = refusal(path, checkpoint)
    assert re.search(why, sentence), sentence
    assert "llama-imatrix" in sentence and "--calibrate" in sentence


def test_a_file_of_a_model_with_experts_is_refused(path, checkpoint):
    sums = random_sums(SMALL)
    name = "blk.0.ffn_down.weight"
    sums[name] = np.ones((8, 96), np.float32)
    write_imatrix(path, sums, counts={name: np.ones((8, 1), np.float32)})
    assert "has 8 experts, and this one has none" in refusal(path, checkpoint)
    sums = random_sums(SMALL) | {"blk.0.ffn_down_exps.weight": np.ones((8, 96), np.float32)}
    write_imatrix(path, sums)
    assert "it has blk.0.ffn_down_exps.weight" in refusal(path, checkpoint)


def test_a_file_without_any_layer_says_so(path, checkpoint):
    write_imatrix(path, {"output.weight": np.ones(64, np.float32)})
    assert "knows no layers: it has nothing on blk.0.attn_q.weight" in refusal(path, checkpoint)


@pytest.mark.parametrize(("kind", "said"), [("model", "kind 'model'"), (None, "does not say")])
def test_a_gguf_of_another_kind_is_refused(path, checkpoint, kind, said):
    write_imatrix(path, random_sums(SMALL), kind=kind)
    assert "is no imatrix" in (sentence := refusal(path, checkpoint)) and said in sentence


def test_the_older_form_is_refused_by_name_with_how_it_is_converted(tmp_path, checkpoint):
    path, name = tmp_path / "imatrix.dat", b"blk.0.attn_q.weight"
    path.write_bytes(
        struct.pack("<ii", 1, len(name)) + name + struct.pack("<ii64f", 1, 64, *range(64))
    )
    sentence = refusal(path, checkpoint)
    assert "older form" in sentence
    assert "`llama-imatrix --in-file imatrix.dat -o imatrix.gguf`" in sentence


@pytest.mark.parametrize("content", [b"", b"text", b"\0" * 500, b"\x01\0\0\0\xff\xff\xff\xff" * 40])
def test_a_file_that_is_nothing_of_the_kind_is_refused(path, checkpoint, content):
    path.write_bytes(content)
    assert "is no imatrix of llama.cpp" in refusal(path, checkpoint)


def test_a_file_that_is_not_there_is_named(path, checkpoint):
    assert "No such file" in refusal(path, checkpoint)


def test_a_torn_file_is_refused(path, checkpoint):
    write_imatrix(path, random_sums(SMALL))
    path.write_bytes(path.read_bytes()[:-100])
    assert "is torn" in refusal(path, checkpoint)


@pytest.mark.parametrize("bad", [-1, np.nan, np.inf])
def test_numbers_that_no_sum_of_squares_has_are_refused(path, checkpoint, bad):
    sums = random_sums(SMALL)
    sums["blk.1.ffn_up.weight"][5] = bad
    write_imatrix(path, sums)
    sentence = refusal(path, checkpoint)
    assert "'blk.1.ffn_up.weight.in_sum2'" in sentence and "negative or not finite" in sentence


def test_counts_decide_whether_there_is_a_mean(path, checkpoint):
    name = "blk.0.attn_k.weight"
    for count, why in (
        (np.zeros((1, 1), np.float32), "seen no text with blk.0.attn_k.weight: its count is 0"),
        (np.full((1, 1), 1e-45, np.float32), "mean of blk.0.attn_k.weight that is not finite"),
        (np.full((1, 1), np.nan, np.float32), "'blk.0.attn_k.weight.counts'"),
        (np.zeros((0, 1), np.float32), "lacks the tensor 'blk.0.attn_k.weight.counts'"),
        (np.ones((1, 2), np.float32), "has 2 numbers, and this one takes 1"),
    ):
        write_imatrix(path, random_sums(SMALL), counts={name: count})
        assert why in refusal(path, checkpoint)


def test_sums_in_another_format_are_refused(path, checkpoint):
    sums = random_sums(SMALL)
    sums["blk.0.attn_q.weight"] = sums["blk.0.attn_q.weight"].astype(np.float16)
    write_imatrix(path, sums)
    assert "is F16 of 1 dimensions" in refusal(path, checkpoint)

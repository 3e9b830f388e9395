"""GGUF files that cannot be sharded: each ends in a named error before anything is written."""

from dataclasses import replace

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pi_cluster.cluster.errors import CheckpointError, ClusterError
from pi_cluster.shard_tool.sources.checkpoint import open_checkpoint
from pi_cluster.transformer.errors import ModelError, UnsupportedModel
from tests.support.gguf_models import Type, all_in, gguf_config, split_gguf, write_gguf
from tests.support.gguf_vocabularies import byte_level_keys, sentencepiece_keys
from tests.support.stores import shard

NOT_READ = ("Q2_K", "Q3_K", "IQ4_XS", "IQ2_XXS", "IQ1_M", "TQ1_0", "MXFP4", "Q8_K")

HEADS_OF_64 = {"attention.key_length": 64, "attention.value_length": 64}


def refusal_of(tmp_path, path=None, error=CheckpointError):
    with pytest.raises(error) as failure:
        shard(path or tmp_path / "m.gguf", tmp_path / "store")
    assert not (tmp_path / "store").exists()
    return str(failure.value)


def of_type(number, changes):
    """The file ``m.gguf`` in which one tensor is said to be of another format of the same size."""

    def apply(path):
        data = bytearray(path.read_bytes())
        name = changes.encode()
        at = data.index(len(name).to_bytes(8, "little") + name) + 8 + len(name)
        dimensions = int.from_bytes(data[at : at + 4], "little")
        at += 4 + 8 * dimensions
        data[at : at + 4] = number.to_bytes(4, "little")
        path.write_bytes(data)

    return apply


@pytest.mark.parametrize("name", NOT_READ)
def test_a_format_that_is_not_read_is_named_with_the_file_to_fetch(tmp_path, name):
    config = gguf_config()
    write_gguf(tmp_path / "m.gguf", config, type_of=all_in("F32"))
    of_type(Type[name].value, "blk.1.ffn_up.weight")(tmp_path / "m.gguf")
    message = refusal_of(tmp_path)
    assert f"'blk.1.ffn_up.weight' of {tmp_path / 'm.gguf'} is in {name}, which is not read" in (
        message
    )
    assert "Fetch the Q4_K_M or the Q8_0 file of the same model" in message


def test_a_quantised_vector_is_named(tmp_path):
    write_gguf(tmp_path / "m.gguf")
    of_type(Type.Q8_0.value, "blk.1.ffn_norm.weight")(tmp_path / "m.gguf")
    assert "'blk.1.ffn_norm.weight'" in refusal_of(tmp_path)
    assert "is a vector in Q8_0" in refusal_of(tmp_path)


@pytest.mark.parametrize("architecture", ["gemma3", "phi3", "qwen3moe", "deepseek2", "fox"])
def test_an_architecture_that_is_not_computed_is_named(tmp_path, architecture):
    write_gguf(tmp_path / "m.gguf", gguf_config(), architecture=architecture)
    message = refusal_of(tmp_path, error=UnsupportedModel)
    assert f'{tmp_path / "m.gguf"}: architecture "{architecture}" is not supported' in message


def test_experts_are_refused_by_their_key_and_by_their_tensors(tmp_path):
    write_gguf(tmp_path / "m.gguf", keys={"expert_count": 8, "expert_used_count": 2})
    assert "expert_count is 8" in refusal_of(tmp_path, error=UnsupportedModel)
    experts = {"blk.0.ffn_gate_inp.weight": np.ones((8, 256), np.float32)}
    write_gguf(tmp_path / "m.gguf", more_tensors=experts)
    assert "'blk.0.ffn_gate_inp.weight' belongs to a layer" in refusal_of(tmp_path)


@pytest.mark.parametrize("name", ["blk.0.attn_sinks.weight", "blk.2.ffn_norm.weight"])
def test_a_tensor_of_a_layer_that_no_such_model_has_is_named(tmp_path, name):
    write_gguf(tmp_path / "m.gguf", more_tensors={name: np.ones(256, np.float32)})
    assert f"{name!r} belongs to a layer" in refusal_of(tmp_path)


def test_a_bias_that_is_only_in_one_layer_is_named(tmp_path):
    write_gguf(tmp_path / "m.gguf", more_tensors={"blk.1.attn_q.bias": np.ones(256, np.float32)})
    assert "'blk.1.attn_q.bias' is a bias" in refusal_of(tmp_path)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"embedding_length": 128, **HEADS_OF_64}, "has shape"),
        ({"block_count": 3}, "lacks the tensor 'blk.2.attn_norm.weight'"),
        ({"block_count": 1}, "'blk.1.attn_norm.weight' belongs to a layer"),
        ({"feed_forward_length": 256}, "by the configuration it must be"),
    ],
)
def test_keys_that_do_not_fit_the_tensors_are_named(tmp_path, keys, said):
    write_gguf(tmp_path / "m.gguf", keys=keys)
    assert said in refusal_of(tmp_path)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"attention.head_count": ...}, "lacks attention.head_count"),
        ({"attention.head_count": 0}, "attention.head_count is 0"),
        ({"block_count": 4_000_000_000}, "block_count is 4000000000"),
        ({"attention.layer_norm_rms_epsilon": float("nan")}, "layer_norm_rms_epsilon"),
        ({"rope.scaling.type": "yarn"}, "rope.scaling.type"),
        ({"attention.scale_by_the_moon": True}, "attention.scale_by_the_moon"),
        ({"embedding_length": "256"}, "embedding_length"),
        ({"attention.head_count": np.array([4, 4], np.int32)}, "attention.head_count"),
    ],
)
def test_keys_that_are_not_understood_are_named(tmp_path, keys, said):
    write_gguf(tmp_path / "m.gguf", keys=keys)
    assert said in refusal_of(tmp_path, error=UnsupportedModel)


@pytest.mark.parametrize("kind", ["adapter", "mmproj", "imatrix"])
def test_a_file_that_is_no_model_is_named(tmp_path, kind):
    write_gguf(tmp_path / "m.gguf", keys={"general.type": kind})
    assert f"is no model, but of the kind '{kind}'" in refusal_of(tmp_path)


def test_rope_factors_that_do_not_fit_are_named(tmp_path):
    for factors, said in {
        (1.0,) * 31: "31 factors for 32 pairs",
        (0.0,) * 32: "rope_freqs.weight",
        (float("nan"),) * 32: "rope_freqs.weight",
    }.items():
        tensor = np.array(factors, np.float32)
        write_gguf(tmp_path / "m.gguf", more_tensors={"rope_freqs.weight": tensor})
        assert said in refusal_of(tmp_path, error=UnsupportedModel)
    matrix = {"rope_freqs.weight": np.ones((2, 16), np.float32)}
    write_gguf(tmp_path / "m.gguf", more_tensors=matrix)
    assert "it must be a vector in F32" in refusal_of(tmp_path)


@pytest.mark.parametrize("keys", [byte_level_keys, sentencepiece_keys])
@pytest.mark.parametrize("vocab_size", [299, 301])
def test_a_vocabulary_of_another_size_than_the_model_is_named(tmp_path, keys, vocab_size):
    config = replace(gguf_config(), vocab_size=vocab_size)
    write_gguf(tmp_path / "m.gguf", config, tokenizer=keys(size=300))
    assert f"lists 300 tokens, and the model's embedding has {vocab_size} rows" in refusal_of(
        tmp_path
    )


def test_an_unknown_rule_of_the_tokenizer_is_named(tmp_path):
    write_gguf(tmp_path / "m.gguf", tokenizer=byte_level_keys("youtu", size=300))
    assert 'is "youtu", and that way to cut text is not known' in refusal_of(tmp_path)


@pytest.mark.parametrize("type_name", ["Q8_0", "Q4_K", "Q6_K", "F16"])
def test_weights_that_are_no_numbers_end_sharding_by_the_tensors_name(tmp_path, type_name):
    write_gguf(tmp_path / "m.gguf", type_of=all_in(type_name))
    place = {t.name: t for t in gguf.GGUFReader(tmp_path / "m.gguf").tensors}["blk.1.ffn_up.weight"]
    data = bytearray((tmp_path / "m.gguf").read_bytes())
    at = int(place.data_offset) + (208 if type_name == "Q6_K" else 0)
    data[at : at + 2] = np.float16(np.inf).tobytes()
    (tmp_path / "m.gguf").write_bytes(data)
    with pytest.raises(CheckpointError, match=r"'blk.1.ffn_up.weight' of .*m.gguf.*Fetch the file"):
        shard(tmp_path / "m.gguf", tmp_path / "store")
    assert not (tmp_path / "store" / "manifest.json").exists()


def test_a_file_that_becomes_shorter_while_it_is_read_is_named(tmp_path):
    write_gguf(tmp_path / "m.gguf", type_of=all_in("Q8_0"))
    with open_checkpoint(tmp_path / "m.gguf") as checkpoint:
        (tmp_path / "m.gguf").write_bytes((tmp_path / "m.gguf").read_bytes()[:-5000])
        tensor = checkpoint.tensors["output.weight"]
        with pytest.raises(CheckpointError, match=r"m.gguf has become shorter"):
            list(tensor.matrices())


def test_what_is_there_instead_of_a_checkpoint_is_named(tmp_path):
    (tmp_path / "weights.gguf").write_text("<html>404</html>")
    assert "is no GGUF: it begins with b'<htm'" in refusal_of(tmp_path, tmp_path / "weights.gguf")
    (tmp_path / "weights.gguf").write_text("version https://git-lfs.github.com/spec/v1\n")
    assert "is only a Git LFS pointer" in refusal_of(tmp_path, tmp_path / "weights.gguf")
    assert "there is no file" in refusal_of(tmp_path, tmp_path / "other.gguf")
    (tmp_path / "model.safetensors").write_bytes(b"")
    message = refusal_of(tmp_path, tmp_path / "model.safetensors")
    assert f"is one file of a checkpoint: name its folder, {tmp_path}" in message


def test_a_folder_with_two_models_asks_for_one(tmp_path):
    for name in ("fox.gguf", "owl.gguf"):
        write_gguf(tmp_path / name)
    message = refusal_of(tmp_path, tmp_path)
    told = f"has several models in GGUF: name one, as in {tmp_path / 'fox.gguf'}. There are "
    assert told + "fox.gguf, owl.gguf" in message


def test_parts_of_two_models_are_named(tmp_path):
    write_gguf(tmp_path / "fox.gguf", keys={"general.name": "fox"})
    paths = split_gguf(tmp_path / "fox.gguf", [10, 11])
    write_gguf(tmp_path / "owl.gguf", keys={"general.name": "owl"})
    others = split_gguf(tmp_path / "owl.gguf", [12, 9])
    others[1].rename(paths[1])
    assert "they are of two models" in refusal_of(tmp_path, paths[0])


@pytest.fixture(scope="module")
def small_file(tmp_path_factory):
    """A file whose header is all that is worth changing."""
    sizes = {"n_heads": 1, "n_kv_heads": 1, "head_dim": 32, "hidden_dim": 32}
    config = replace(gguf_config(**sizes), dim=32)
    config = replace(config, layers=config.layers[:1])
    path = tmp_path_factory.mktemp("small") / "m.gguf"
    write_gguf(path, config, type_of=all_in("Q8_0"), tokenizer=byte_level_keys(size=300))
    with open_checkpoint(path):
        pass
    return path


@settings(
    max_examples=300,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_whatever_is_changed_in_a_header_the_model_is_opened_or_refused_by_name(small_file, data):
    whole = small_file.read_bytes()
    header_bytes = min(t.data_offset for t in gguf_tensors(small_file))
    changed = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(8, header_bytes - 1))
        new = data.draw(
            st.one_of(
                st.binary(min_size=1, max_size=4),
                st.sampled_from([b"\xff" * 8, bytes(8), b"\x7f\xff", b"\0\0\x80\x7f"]),
            )
        )
        changed[at : at + len(new)] = new
    path = small_file.with_name("changed.gguf")
    path.write_bytes(changed)
    try:
        with open_checkpoint(path) as checkpoint:
            assert checkpoint.tensors
    except (ClusterError, ModelError) as error:
        assert str(error)


def gguf_tensors(path, found={}):  # noqa: B006
    """Places of a file's tensors, read once."""
    if path not in found:
        found[path] = gguf.GGUFReader(path).tensors
    return found[path]

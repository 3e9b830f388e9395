"""The metadata of a GGUF as the model that it is, in the words of llama.cpp's converter."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pi_cluster.transformer.config import LayerConfig, ModelConfig, RopeTable
from pi_cluster.transformer.config_form import plain_config, read_config
from pi_cluster.transformer.errors import UnsupportedModel
from pi_cluster.transformer.families.gguf_metadata import GgufFacts, read_gguf
from pi_cluster.transformer.families.tensor_forms import GGUF_NEOX, GGUF_NORM
from tests.support.json_values import json_values


def as_float32(value):
    """A number as the file keeps it."""
    return float(np.float32(value))


SMOLLM2 = {  # the file of HuggingFaceTB/SmolLM2-135M-Instruct, as llama.cpp prints it
    "general.architecture": "llama",
    "general.name": "SmolLM2 135M Instruct",
    "llama.block_count": 30,
    "llama.context_length": 8192,
    "llama.embedding_length": 576,
    "llama.feed_forward_length": 1536,
    "llama.attention.head_count": 9,
    "llama.attention.head_count_kv": 3,
    "llama.rope.freq_base": 100000.0,
    "llama.attention.layer_norm_rms_epsilon": as_float32(1e-5),
    "llama.vocab_size": 49152,
    "llama.rope.dimension_count": 64,
    "tokenizer.ggml.model": "gpt2",
}
QWEN3 = {  # Qwen3-0.6B, as llama.cpp prints it
    "general.architecture": "qwen3",
    "qwen3.block_count": 28,
    "qwen3.context_length": 40960,
    "qwen3.embedding_length": 1024,
    "qwen3.feed_forward_length": 3072,
    "qwen3.attention.head_count": 16,
    "qwen3.attention.head_count_kv": 8,
    "qwen3.rope.freq_base": 1000000.0,
    "qwen3.attention.layer_norm_rms_epsilon": as_float32(1e-6),
    "qwen3.attention.key_length": 128,
    "qwen3.attention.value_length": 128,
}
TIED = {"token_embd.weight": (49152, 576)}
BIASES = {"blk.0.attn_q.bias": (576,), "blk.0.attn_output.bias": (576,)}


def read(values, shapes=TIED, factors=None):
    return read_gguf(GgufFacts("model.gguf", values, shapes, factors))


def of(architecture, values=QWEN3):
    """The same sizes under the name of another architecture."""
    named = {key.replace("qwen3.", f"{architecture}."): v for key, v in values.items()}
    return named | {"general.architecture": architecture}


def test_smollm2_is_a_tied_llama_with_the_decimals_that_its_float32s_stand_for():
    found = read(SMOLLM2)
    layers = (LayerConfig(9, 3, 64, 1536),) * 30
    table = RopeTable(100000.0, 64)
    assert found.config == ModelConfig(576, 49152, 1e-5, 8192, (table,), layers)
    assert (found.tied, found.family.architecture, found.notes) == (True, "LlamaForCausalLM", ())
    assert found.family.gguf.tensors is GGUF_NORM


def test_a_file_with_a_matrix_for_the_head_is_not_tied():
    assert not read(SMOLLM2, TIED | {"output.weight": (49152, 576)}).tied


def test_biases_of_a_llama_are_those_that_its_file_has():
    (layer,) = set(read(SMOLLM2, TIED | BIASES).config.layers)
    assert (layer.qkv_bias, layer.o_bias) == (True, True)


@pytest.mark.parametrize(
    ("architecture", "qkv_bias", "qk_norm", "form"),
    [
        ("qwen2", True, False, GGUF_NEOX),
        ("qwen3", False, True, GGUF_NEOX),
        ("mistral3", False, False, GGUF_NORM),
    ],
)
def test_a_family_adds_what_no_key_of_the_file_says(architecture, qkv_bias, qk_norm, form):
    found = read(of(architecture))
    (layer,) = set(found.config.layers)
    assert (layer.qkv_bias, layer.qk_norm, layer.head_dim) == (qkv_bias, qk_norm, 128)
    assert found.family.gguf.tensors is form


def test_every_fourth_layer_of_smollm3_is_not_turned():
    tables = [layer.rope_table for layer in read(of("smollm3")).config.layers]
    assert tables == [0, 0, 0, None] * 7


def test_the_factors_of_llama_3_are_those_of_the_files_tensor():
    factors = (1.0,) * 16 + (32.0,) * 16
    (table,) = read(SMOLLM2, factors=factors).config.rope_tables
    assert table == RopeTable(100000.0, 64, factors)


def test_keys_that_change_nothing_are_passed_over():
    more = {
        "llama.expert_count": 0,
        "llama.rope.scaling.type": "none",
        "llama.attention.causal": True,
        "llama.tensor_data_layout": "Meta AI original pth",
        "general.file_type": 15,
    }
    assert read(SMOLLM2 | more) == read(SMOLLM2)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"general.architecture": None}, ["lacks general.architecture"]),
        ({"general.architecture": "gemma3"}, ['"gemma3"', "gelu_tanh", "qwen3"]),
        ({"general.architecture": "qwen3moe"}, ['"qwen3moe"', "experts"]),
        ({"llama.expert_count": 8}, ["llama: expert_count is 8"]),
        ({"llama.block_count": None}, ["llama lacks block_count"]),
        ({"llama.block_count": 10**9}, ["block_count is 1000000000"]),
        ({"llama.attention.head_count_kv": 4}, ["attention.head_count_kv is 4"]),
        ({"llama.attention.head_count_kv": [3, 4]}, ["attention.head_count_kv is [3, 4]"]),
        ({"llama.attention.value_length": 32}, ["attention.value_length is 32"]),
        ({"llama.attention.layer_norm_rms_epsilon": 1e300}, ["layer_norm_rms_epsilon"]),
        ({"llama.rope.freq_base": 0.5}, ["rope.freq_base is 0.5"]),
        ({"llama.rope.dimension_count": 32}, ["rope.dimension_count is 32", "whole heads"]),
        ({"llama.rope.scaling.type": "yarn"}, ['rope.scaling.type is "yarn"']),
        ({"llama.rope.scaling.factor": 4.0}, ["rope.scaling.factor is 4.0"]),
        ({"llama.attention.sliding_window": 4096}, ["attention.sliding_window is 4096"]),
        ({"llama.attention.temperature_scale": 0.1}, ["temperature_scale is 0.1"]),
        ({"llama.no_such_key": 1}, ["no_such_key is 1", "not known here"]),
    ],
)
def test_what_is_not_computed_is_refused_by_its_key_and_file(changes, said):
    with pytest.raises(UnsupportedModel) as refusal:
        read(SMOLLM2 | changes)
    message = str(refusal.value)
    assert message.startswith("model.gguf")
    assert all(words in message for words in said), message


@pytest.mark.parametrize(
    ("factors", "said"), [((1.0,) * 8, "8 factors for 32"), ((0.0,) * 32, "rope_freqs.weight is")]
)
def test_factors_that_do_not_fit_the_heads_are_refused(factors, said):
    with pytest.raises(UnsupportedModel, match=rf"^model\.gguf.*{said}"):
        read(SMOLLM2, factors=factors)


def test_a_file_without_an_embedding_is_refused():
    with pytest.raises(UnsupportedModel, match=r"^model\.gguf lacks token_embd\.weight"):
        read(SMOLLM2, {})


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from([*SMOLLM2, "llama.rope.scaling.type"]), json_values))
def test_no_metadata_raise_anything_but_a_refusal(changes):
    try:
        config = read(SMOLLM2 | changes).config
    except UnsupportedModel:
        return
    assert read_config(plain_config(config)) == config

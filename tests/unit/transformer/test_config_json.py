import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pi_cluster.transformer.config_form import plain_config, read_config
from pi_cluster.transformer.errors import UnsupportedModel
from pi_cluster.transformer.families.config_json import read_config_json
from tests.support.json_values import json_values
from tests.support.published_configurations import LLAMA_2_7B, MISTRAL_V1

LLAMA = LLAMA_2_7B | {"rope_theta": 10000.0}


def config_of(values):
    return read_config_json(values).config


def without(values, *keys):
    return {k: v for k, v in values.items() if k not in keys}


def test_theta_is_found_in_rope_parameters_as_newer_files_have_it():
    values = without(MISTRAL_V1, "rope_theta")
    rope = {"rope_theta": 5e5, "rope_type": "default"}
    assert config_of(values | {"rope_parameters": rope}).rope_tables[0].theta == 5e5
    assert config_of(values | {"rope_scaling": rope, "rope_theta": 5e5}).rope_tables[0].theta == 5e5
    assert config_of(values).rope_tables[0].theta == 10_000.0


@pytest.mark.parametrize(("head_dim", "expected"), [(None, 128), (64, 64)])
def test_head_dim_may_be_null_or_differ_from_dim_over_heads(head_dim, expected):
    assert config_of(MISTRAL_V1 | {"head_dim": head_dim}).layers[0].head_dim == expected


def test_key_value_heads_that_are_null_mean_one_for_each_head_and_absent_ones_the_default():
    assert config_of(MISTRAL_V1 | {"num_key_value_heads": None}).layers[0].n_kv_heads == 32
    assert config_of(without(LLAMA, "num_key_value_heads")).layers[0].n_kv_heads == 32
    read = read_config_json(without(MISTRAL_V1, "num_key_value_heads"))
    assert read.config.layers[0].n_kv_heads == 8
    assert "config.json has no num_key_value_heads: 8 is taken" in read.notes[0]


def test_llama_has_no_window_whatever_its_file_says_and_a_note_says_so():
    read = read_config_json(LLAMA | {"sliding_window": 4096})
    assert read.config.layers[0].window is None
    assert "sliding_window 4096 is not used" in read.notes[0]
    assert read_config_json(LLAMA | {"sliding_window": None}).notes == ()


def test_model_type_stands_in_for_absent_architectures():
    assert config_of(without(MISTRAL_V1, "architectures")) == config_of(MISTRAL_V1)


def test_a_window_written_as_a_string_is_that_number():
    assert config_of(MISTRAL_V1 | {"sliding_window": "32"}).layers[0].window == 32


def test_a_file_that_says_everything_gets_no_notes():
    assert read_config_json(MISTRAL_V1).notes == ()
    assert read_config_json(LLAMA).notes == ()


@pytest.mark.parametrize(
    ("family", "key", "taken"),
    [
        (MISTRAL_V1, "rope_theta", "10000"),
        (MISTRAL_V1, "sliding_window", "4096"),
        (MISTRAL_V1, "max_position_embeddings", "131072"),
        (MISTRAL_V1, "rms_norm_eps", "1e-06"),
        (LLAMA, "rope_theta", "10000"),
        (LLAMA, "max_position_embeddings", "2048"),
    ],
)
def test_what_is_taken_for_an_absent_key_is_noted_with_its_source(family, key, taken):
    (note,) = read_config_json(without(family, key)).notes
    assert f"config.json has no {key}: {taken}" in note
    assert f"as transformers does for {family['architectures'][0]}" in note


@pytest.mark.parametrize(
    "changes",
    [
        {"pretraining_tp": 2},
        {"attention_dropout": 0.1, "hidden_dropout": 0.1, "resid_pdrop": 0.1},
        {"temperature": 0.6, "top_p": 0.9, "do_sample": True, "max_length": 4096},
        {"rope_scaling": None, "quantization_config": None, "anything_at_all": None},
        {"rope_scaling": {"type": "default"}},
        {"partial_rotary_factor": 1.0},
        {"hidden_act": "swish"},
        {"layer_types": ["sliding_attention"] * 32, "use_sliding_window": True},
        {"sliding_window": None, "layer_types": ["full_attention"] * 32},
        {"sliding_window": None, "use_sliding_window": False, "max_window_layers": 28},
        {"num_experts": 0, "residual_multiplier": 1.0, "qk_layernorm": False},
        {"auto_map": {"AutoTokenizer": ["tokenization_x.X", None]}},
        {"dtype": "bfloat16", "unsloth_version": "2024.9", "_name_or_path": "/home/me/x"},
    ],
)
def test_keys_that_leave_the_arithmetic_alone_change_nothing(changes):
    unwindowed = MISTRAL_V1 | {"sliding_window": changes.get("sliding_window", 4096)}
    assert read_config_json(MISTRAL_V1 | changes) == read_config_json(unwindowed)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"architectures": ["MixtralForCausalLM"]}, ["MixtralForCausalLM"]),
        ({"architectures": None, "model_type": "qwen2_moe"}, ["qwen2_moe"]),
        ({"architectures": [["nested"]]}, ["nested"]),
        ({"model_type": "llama"}, ['model_type is "llama"', "MistralForCausalLM"]),
        ({"hidden_act": "gelu"}, ['hidden_act is "gelu"']),
        ({"activation_function": "gelu_new"}, ["activation_function", "gelu_new"]),
        ({"attention_bias": True}, ["attention_bias is true"]),
        ({"mlp_bias": True}, ["mlp_bias is true"]),
        ({"rope_scaling": {"type": "linear", "factor": 2}}, ["rope_scaling", "linear"]),
        ({"rope_scaling": {"rope_type": "llama3"}}, ["rope_scaling", "llama3"]),
        ({"rope_scaling": "yarn"}, ["rope_scaling", "yarn"]),
        ({"rope_scaling": {"rope_type": ["default"]}}, ["rope_scaling", "default"]),
        ({"rope_scaling": {"rope_type": "default", "type": "yarn"}}, ["rope_scaling", "yarn"]),
        ({"rope_scaling": {"factor": 8.0}}, ["rope_scaling", "factor is 8.0"]),
        ({"rope_scaling": {"mrope_section": [1]}}, ["rope_scaling", "mrope_section"]),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, ["yarn"]),
        ({"rope_parameters": {"rope_theta": 5e5}}, ["500000 in rope_parameters", "10000 in"]),
        ({"rope_parameters": {"rope_theta": "1e4"}}, ["rope_parameters", "rope_theta"]),
        (
            {"rope_parameters": {"full_attention": {"rope_type": "default"}}},
            ["rope_parameters", "layer to layer"],
        ),
        ({"rope_parameters": {"partial_rotary_factor": 0.5}}, ["partial_rotary_factor is 0.5"]),
        ({"partial_rotary_factor": 0.5}, ["partial_rotary_factor is 0.5"]),
        ({"quantization_config": {"quant_method": "awq"}}, ["quantization_config", "quantised"]),
        ({"quantization": {"bits": 4}}, ["quantization", "quantised"]),
        ({"auto_map": {"AutoModelForCausalLM": "modeling_x.X"}}, ["auto_map", "modeling_x.X"]),
        ({"auto_map": "modeling_x.X"}, ["auto_map"]),
        ({"hidden_size": None}, ["lacks hidden_size"]),
        ({"hidden_size": "4096"}, ['hidden_size is "4096"']),
        ({"hidden_size": 4100}, ["hidden_size is 4100", "head_dim"]),
        ({"num_hidden_layers": True}, ["num_hidden_layers is true"]),
        ({"num_hidden_layers": 10**9}, ["num_hidden_layers is 1000000000"]),
        ({"num_attention_heads": 0}, ["num_attention_heads is 0"]),
        ({"num_key_value_heads": 5}, ["num_key_value_heads is 5", "num_attention_heads, 32"]),
        ({"head_dim": 127}, ["head_dim is 127"]),
        ({"rms_norm_eps": 0}, ["rms_norm_eps is 0"]),
        ({"rope_theta": float("nan")}, ["rope_theta is NaN"]),
        ({"rope_theta": 10**400}, ["rope_theta"]),
        ({"sliding_window": 0}, ["sliding_window is 0", "null"]),
        ({"sliding_window": -1}, ["sliding_window is -1", "null"]),
        ({"sliding_window": "4k"}, ['sliding_window is "4k"']),
        ({"sliding_window": [4096]}, ["sliding_window is [4096]"]),
        ({"use_sliding_window": False}, ["use_sliding_window is false", "4096"]),
        ({"max_window_layers": 16}, ["max_window_layers is 16"]),
        ({"layer_types": ["full_attention"] * 32}, ["layer_types", "4096"]),
        ({"layer_types": ["full_attention", "sliding_attention"] * 15}, ["layer_types"]),
        (
            {"sliding_window": None, "layer_types": ["sliding_attention"] * 32},
            ["layer_types", "no sliding_window"],
        ),
        ({"layer_types": "sliding_attention"}, ["layer_types"]),
        ({"tie_word_embeddings": "yes"}, ['tie_word_embeddings is "yes"']),
        ({"attn_logit_softcapping": 50.0}, ["attn_logit_softcapping is 50.0"]),
        ({"attention_multiplier": 0.015625}, ["attention_multiplier is 0.015625"]),
        ({"residual_multiplier": 0.22}, ["residual_multiplier is 0.22", "only 1"]),
        ({"num_local_experts": 8}, ["num_local_experts is 8"]),
        ({"qk_layernorm": True}, ["qk_layernorm is true"]),
        ({"sparsity_config": {"format": "24"}}, ["sparsity_config"]),
        ({"norm_type": "layernorm"}, ["norm_type", "layernorm"]),
        ({"_sliding_window": [None, 4096]}, ["_sliding_window is [null, 4096]"]),
        ({"no_such_key": 1}, ["no_such_key is 1", "not known here"]),
        ({"no_such_key": "x" * 10_000}, ["no_such_key", "..."]),
        ({"x" * 10_000: 1}, ["xxx", "..."]),
        ({"\x1b[2J\u202e": "\x1b[2J"}, [r"\u001b[2J\u202e", r"\u001b[2J"]),
        ({"is_causal": False}, ["is_causal is false"]),
        ({"hidden_size": 32768, "head_dim": 128, "intermediate_size": 524288}, ["billion weights"]),
        ({"head_dim": 258}, ["head_dim is 258"]),
    ],
)
def test_what_is_not_computed_is_refused_by_its_key_and_file(changes, said):
    with pytest.raises(UnsupportedModel) as refusal:
        read_config_json(MISTRAL_V1 | changes)
    message = str(refusal.value)
    assert message.startswith("config.json")
    assert all(words in message for words in said), message
    assert len(message) < 500
    assert message.isprintable()


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(
        st.sampled_from(
            [*MISTRAL_V1, "rope_parameters", "head_dim", "layer_types", "auto_map", "other"]
        ),
        json_values,
    )
)
def test_no_config_json_raises_anything_but_a_refusal(changes):
    try:
        config = config_of(MISTRAL_V1 | changes)
    except UnsupportedModel:
        return
    assert read_config(plain_config(config)) == config

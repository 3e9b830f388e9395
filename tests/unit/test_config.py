import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transformer.config import ModelConfig
from transformer.errors import UnsupportedModel

MISTRAL_V1 = {
    "architectures": ["MistralForCausalLM"],
    "bos_token_id": 1,
    "eos_token_id": 2,
    "hidden_act": "silu",
    "hidden_size": 4096,
    "initializer_range": 0.02,
    "intermediate_size": 14336,
    "max_position_embeddings": 32768,
    "model_type": "mistral",
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-05,
    "rope_theta": 10000.0,
    "sliding_window": 4096,
    "tie_word_embeddings": False,
    "vocab_size": 32000,
}
MISTRAL_V1_PARAMS = {
    "dim": 4096,
    "n_layers": 32,
    "head_dim": 128,
    "hidden_dim": 14336,
    "n_heads": 32,
    "n_kv_heads": 8,
    "norm_eps": 1e-05,
    "sliding_window": 4096,
    "vocab_size": 32000,
}
EXPECTED_V1 = ModelConfig(
    dim=4096,
    n_layers=32,
    n_heads=32,
    n_kv_heads=8,
    head_dim=128,
    hidden_dim=14336,
    vocab_size=32000,
    norm_eps=1e-5,
    rope_theta=10_000.0,
    window=4096,
    max_positions=32768,
)
LLAMA = MISTRAL_V1 | {"architectures": ["LlamaForCausalLM"], "attention_bias": False}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


def test_mistral_7b_reads_the_same_from_both_families_of_files():
    assert ModelConfig.from_hugging_face(MISTRAL_V1) == EXPECTED_V1
    assert ModelConfig.from_params(MISTRAL_V1_PARAMS) == EXPECTED_V1


def test_mistral_7b_has_the_published_number_of_weights():
    assert EXPECTED_V1.n_weights == 7_241_732_096


def test_later_mistral_has_a_theta_and_no_window():
    params = {k: v for k, v in MISTRAL_V1_PARAMS.items() if k != "sliding_window"}
    from_params = ModelConfig.from_params(params | {"rope_theta": 1e6, "vocab_size": 32768})
    newer = MISTRAL_V1 | {"rope_theta": 1000000, "sliding_window": None, "vocab_size": 32768}
    assert from_params == ModelConfig.from_hugging_face(newer)
    assert (from_params.rope_theta, from_params.window) == (1e6, None)


def test_theta_is_found_in_rope_parameters_as_newer_files_have_it():
    values = {k: v for k, v in MISTRAL_V1.items() if k != "rope_theta"}
    rope = {"rope_theta": 5e5, "rope_type": "default"}
    assert ModelConfig.from_hugging_face(values | {"rope_parameters": rope}).rope_theta == 5e5
    assert ModelConfig.from_hugging_face(values).rope_theta == 10_000.0


@pytest.mark.parametrize(("head_dim", "expected"), [(None, 128), (64, 64)])
def test_head_dim_may_be_null_or_differ_from_dim_over_heads(head_dim, expected):
    config = ModelConfig.from_hugging_face(MISTRAL_V1 | {"head_dim": head_dim})
    assert config.head_dim == expected


def test_absent_key_value_heads_mean_one_for_each_head():
    values = {k: v for k, v in MISTRAL_V1.items() if k != "num_key_value_heads"}
    assert ModelConfig.from_hugging_face(values).n_kv_heads == 32


def test_llama_has_no_window_whatever_its_file_says():
    assert ModelConfig.from_hugging_face(LLAMA).window is None


def test_model_type_stands_in_for_absent_architectures():
    values = {k: v for k, v in MISTRAL_V1.items() if k != "architectures"}
    assert ModelConfig.from_hugging_face(values) == EXPECTED_V1


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"architectures": ["MixtralForCausalLM"]}, "MixtralForCausalLM"),
        ({"architectures": None, "model_type": "qwen2"}, "qwen2"),
        ({"architectures": [["nested"]]}, "nested"),
        ({"hidden_act": "gelu"}, "gelu"),
        ({"attention_bias": True}, "attention_bias"),
        ({"mlp_bias": True}, "mlp_bias"),
        ({"rope_scaling": {"type": "linear", "factor": 2}}, "linear"),
        ({"rope_scaling": {"rope_type": "llama3"}}, "llama3"),
        ({"rope_scaling": "yarn"}, "yarn"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, "yarn"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
        ({"quantization_config": {"quant_method": "awq"}}, "quantization_config"),
        ({"hidden_size": None}, "hidden_size"),
        ({"hidden_size": "4096"}, "hidden_size"),
        ({"hidden_size": 4100}, "4100"),
        ({"num_hidden_layers": True}, "num_hidden_layers"),
        ({"num_hidden_layers": 10**9}, "n_layers is 1000000000"),
        ({"num_attention_heads": 0}, "num_attention_heads"),
        ({"num_key_value_heads": 5}, "n_kv_heads is 5"),
        ({"head_dim": 127}, "head_dim is 127"),
        ({"rms_norm_eps": 0}, "norm_eps"),
        ({"rope_theta": float("nan")}, "rope_theta"),
        ({"rope_theta": 10**400}, "rope_theta"),
        ({"sliding_window": 0}, "window is 0"),
        ({"sliding_window": [4096]}, "window is [4096]"),
        ({"hidden_size": 32768, "head_dim": 128, "intermediate_size": 524288}, "billion weights"),
        ({"head_dim": 258}, "head_dim is 258"),
    ],
)
def test_what_is_not_computed_is_refused_by_its_name(changes, named):
    with pytest.raises(UnsupportedModel) as refusal:
        ModelConfig.from_hugging_face(MISTRAL_V1 | changes)
    assert named in str(refusal.value)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"moe": {"num_experts": 8}}, "moe"),
        ({"vision_encoder": {"hidden_size": 1}}, "vision_encoder"),
        ({"model_type": "mamba"}, "mamba"),
        ({"dim": None}, "dim"),
        ({"sliding_window": [None, 32768]}, "window is [None, 32768]"),
    ],
)
def test_params_that_are_not_computed_are_refused_by_name(changes, named):
    with pytest.raises(UnsupportedModel) as refusal:
        ModelConfig.from_params(MISTRAL_V1_PARAMS | changes)
    assert named in str(refusal.value)


def test_a_config_survives_json():
    assert ModelConfig.from_dict(json.loads(json.dumps(EXPECTED_V1.to_dict()))) == EXPECTED_V1


@pytest.mark.parametrize("name", sorted(EXPECTED_V1.to_dict()))
def test_a_missing_or_ill_typed_field_is_named(name):
    values = EXPECTED_V1.to_dict()
    with pytest.raises(UnsupportedModel, match=name):
        ModelConfig.from_dict({k: v for k, v in values.items() if k != name})
    with pytest.raises(UnsupportedModel, match=name):
        ModelConfig.from_dict(values | {name: "many"})


def test_an_unknown_field_is_named():
    with pytest.raises(UnsupportedModel, match="experts"):
        ModelConfig.from_dict(EXPECTED_V1.to_dict() | {"experts": 8})


@given(st.dictionaries(st.sampled_from([*MISTRAL_V1, "rope_parameters", "head_dim"]), json_values))
def test_no_config_json_raises_anything_but_a_refusal(changes):
    try:
        config = ModelConfig.from_hugging_face(MISTRAL_V1 | changes)
    except UnsupportedModel:
        return
    assert ModelConfig.from_dict(config.to_dict()) == config


@given(st.dictionaries(st.sampled_from([*MISTRAL_V1_PARAMS, "moe", "rope_theta"]), json_values))
def test_no_params_json_raises_anything_but_a_refusal(changes):
    try:
        config = ModelConfig.from_params(MISTRAL_V1_PARAMS | changes)
    except UnsupportedModel:
        return
    assert ModelConfig.from_dict(config.to_dict()) == config

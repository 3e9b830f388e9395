import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pi_cluster.transformer.config_form import plain_config, read_config
from pi_cluster.transformer.errors import UnsupportedModel
from pi_cluster.transformer.families.params_json import read_params_json
from tests.support.checkpoints import only_layer
from tests.support.json_values import json_values
from tests.support.published_configurations import MISTRAL_V1_PARAMS, MISTRAL_V2_PARAMS

SAID = MISTRAL_V2_PARAMS | {"max_seq_len": 32768}


def test_a_file_that_says_everything_gets_no_notes():
    assert read_params_json(SAID).notes == ()


def test_what_is_taken_for_absent_keys_is_noted():
    theta, positions = read_params_json(MISTRAL_V1_PARAMS).notes
    assert "params.json has no rope_theta: 10000.0 is taken" in theta
    assert "params.json has no max_position_embeddings: 32768 is taken" in positions


@pytest.mark.parametrize("changes", [{}, {"sliding_window": None}, {"_sliding_window": [None]}])
def test_without_theta_and_window_nothing_is_guessed(changes):
    values = {k: v for k, v in SAID.items() if k != "rope_theta"} | changes
    with pytest.raises(UnsupportedModel) as refusal:
        read_params_json(values)
    assert "neither rope_theta nor sliding_window" in str(refusal.value)
    assert "10000" in str(refusal.value)
    assert "1000000" in str(refusal.value)


@pytest.mark.parametrize(
    ("changes", "window"),
    [
        ({}, None),
        ({"sliding_window": "32"}, 32),
        ({"sliding_window": [32]}, 32),
        ({"_sliding_window": 32}, 32),
        ({"sliding_window": None, "_sliding_window": [32, 32]}, 32),
        ({"_sliding_window": [None, None]}, None),
    ],
)
def test_one_window_for_all_layers_is_read_in_every_way_that_it_is_written(changes, window):
    assert only_layer(read_params_json(SAID | changes).config).window == window


@pytest.mark.parametrize(
    "changes",
    [
        {"max_batch_size": 4, "dtype": "bfloat16"},
        {"moe": None, "lora": None, "vision_encoder": None, "quantization": None, "yarn": None},
        {"activation": "silu", "causal": True, "use_biases": False, "qk_norm": False},
        {"model_type": "transformer"},
    ],
)
def test_keys_that_leave_the_arithmetic_alone_change_nothing(changes):
    assert read_params_json(SAID | changes) == read_params_json(SAID)


def test_tied_embeddings_are_read():
    assert read_params_json(SAID | {"tied_embeddings": True}).tied
    assert not read_params_json(SAID).tied


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"moe": {"num_experts": 8}}, ["moe is"]),
        ({"vision_encoder": {"hidden_size": 1}}, ["vision_encoder is"]),
        ({"model_type": "mamba"}, ['model_type is "mamba"']),
        ({"dim": None}, ["lacks dim"]),
        ({"n_kv_heads": 5}, ["n_kv_heads is 5", "n_heads, 32"]),
        ({"activation": "gelu"}, ['activation is "gelu"', '"silu"']),
        ({"quantization": {"qformat_weight": "fp8_e4m3"}}, ["quantization", "quantised"]),
        ({"yarn": {"factor": 16}}, ["yarn is"]),
        ({"llama_4_scaling": {"beta": 0.1}}, ["llama_4_scaling is"]),
        ({"qk_norm": True}, ["qk_norm is true"]),
        ({"use_biases": True}, ["use_biases is true"]),
        ({"causal": False}, ["causal is false"]),
        ({"sliding_window": [None, 0]}, ["sliding_window is [null, 0]"]),
        ({"_sliding_window": [None, [32]]}, ["_sliding_window is [null, [32]]"]),
        ({"_sliding_window": [32] * 5}, ["_sliding_window is [32, 32, 32, 32, 32]"]),
        ({"_sliding_window": []}, ["_sliding_window is []"]),
        ({"sliding_window": 32, "_sliding_window": 32}, ["_sliding_window is 32", "only one"]),
        ({"sliding_window": 0}, ["sliding_window is 0"]),
        ({"sliding_window": "wide"}, ['sliding_window is "wide"']),
        ({"rope_theta": 0}, ["rope_theta is 0"]),
        ({"ragged_attention": "4096"}, ['ragged_attention is "4096"', "not known here"]),
    ],
)
def test_what_is_not_computed_is_refused_by_its_key_and_file(changes, said):
    with pytest.raises(UnsupportedModel) as refusal:
        read_params_json(SAID | changes)
    message = str(refusal.value)
    assert message.startswith("params.json")
    assert all(words in message for words in said), message


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(
        st.sampled_from([*MISTRAL_V1_PARAMS, "moe", "rope_theta", "_sliding_window", "other"]),
        json_values,
    )
)
def test_no_params_json_raises_anything_but_a_refusal(changes):
    try:
        config = read_params_json(MISTRAL_V1_PARAMS | changes).config
    except UnsupportedModel:
        return
    assert read_config(plain_config(config)) == config

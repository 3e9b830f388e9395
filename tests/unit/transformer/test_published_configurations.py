import pytest

from pi_cluster.transformer.errors import UnsupportedModel
from pi_cluster.transformer.families.config_json import read_config_json
from pi_cluster.transformer.families.params_json import read_params_json
from tests.support.checkpoints import only_layer
from tests.support.published_configurations import (
    LLAMA_2_7B,
    MISTRAL_7B,
    MISTRAL_V1,
    MISTRAL_V1_PARAMS,
    MISTRAL_V2_PARAMS,
    REFUSED_CONFIG_JSON,
    REFUSED_PARAMS_JSON,
    SHARDED_CONFIG_JSON,
    SHARDED_PARAMS_JSON,
)

NO_THETA = {name for name, values in SHARDED_CONFIG_JSON.items() if "rope_theta" not in values}


def test_more_than_twenty_published_configurations_are_tried():
    assert len(SHARDED_CONFIG_JSON) + len(REFUSED_CONFIG_JSON) >= 30


@pytest.mark.parametrize("name", SHARDED_CONFIG_JSON)
def test_a_published_config_json_is_read_without_a_guess_but_the_theta_of_old_llamas(name):
    values = SHARDED_CONFIG_JSON[name]
    read = read_config_json(values)
    config, layer = read.config, only_layer(read.config)
    said = [config.dim, layer.hidden_dim, config.n_layers, config.vocab_size]
    keys = ["hidden_size", "intermediate_size", "num_hidden_layers", "vocab_size"]
    assert said == [values[key] for key in keys]
    assert layer.window == values.get("sliding_window")
    assert read.tied == values["tie_word_embeddings"]
    theta = values.get("rope_parameters", values).get("rope_theta", 10_000)
    assert read.config.rope_tables[0].theta == theta
    is_old_llama = name in NO_THETA and "rope_parameters" not in values
    assert len(read.notes) == is_old_llama
    assert not is_old_llama or "rope_theta: 10000" in read.notes[0]


@pytest.mark.parametrize("name", REFUSED_CONFIG_JSON)
def test_a_published_model_that_computes_something_else_is_refused_by_its_key(name):
    values, key = REFUSED_CONFIG_JSON[name]
    with pytest.raises(UnsupportedModel, match=f"^config.json.*{key}"):
        read_config_json(values)


@pytest.mark.parametrize("name", SHARDED_PARAMS_JSON)
def test_a_published_params_json_is_read(name):
    values = SHARDED_PARAMS_JSON[name]
    config = read_params_json(values).config
    assert (config.dim, config.n_layers) == (values["dim"], values["n_layers"])
    assert only_layer(config).window == values.get("sliding_window")
    assert config.rope_tables[0].theta == values.get("rope_theta", 10_000.0)


@pytest.mark.parametrize("name", REFUSED_PARAMS_JSON)
def test_a_published_params_json_that_says_something_else_is_refused_by_its_key(name):
    values, key = REFUSED_PARAMS_JSON[name]
    with pytest.raises(UnsupportedModel, match=f"^params.json.*{key}"):
        read_params_json(values)


def test_mistral_7b_reads_the_same_from_both_families_of_files():
    assert read_config_json(MISTRAL_V1).config == MISTRAL_7B
    assert read_params_json(MISTRAL_V1_PARAMS).config == MISTRAL_7B
    newer = read_config_json(SHARDED_CONFIG_JSON["Mistral-7B-Instruct-v0.2"]).config
    assert read_params_json(MISTRAL_V2_PARAMS).config == newer
    assert (newer.rope_tables[0].theta, only_layer(newer).window) == (1e6, None)


def test_a_llama_has_as_many_key_value_heads_as_heads_and_no_window():
    config = read_config_json(LLAMA_2_7B).config
    layer = only_layer(config)
    assert (layer.n_kv_heads, layer.window, config.max_positions) == (32, None, 4096)

import json
from dataclasses import replace

import pytest

from pi_cluster.transformer.config import LayerConfig, ModelConfig, RopeTable
from pi_cluster.transformer.config_form import plain_config, read_config
from pi_cluster.transformer.errors import UnsupportedModel
from tests.support.published_configurations import MISTRAL_7B

LAYER = LayerConfig(n_heads=4, n_kv_heads=2, head_dim=16, hidden_dim=96)
MIXED = ModelConfig(
    dim=64,
    vocab_size=130,
    norm_eps=1e-6,
    max_positions=4_096,
    rope_tables=(RopeTable(1e4, 16), RopeTable(1e6, 8, (1.0, 2.0, 4.0, 8.0))),
    layers=(
        *[replace(LAYER, window=32, qk_norm=True)] * 3,
        replace(LAYER, rope_table=None, query_scale=0.5),
        replace(LAYER, rope_table=1, head_dim=32, qkv_bias=True, o_bias=True),
    ),
)
OF_MISTRAL = {"count": 32, "n_heads": 32, "n_kv_heads": 8, "head_dim": 128, "hidden_dim": 14336}
MISTRAL_VERSION_1 = {
    **{"dim": 4096, "n_layers": 32, "n_heads": 32, "n_kv_heads": 8, "head_dim": 128},
    **{"hidden_dim": 14336, "vocab_size": 32000, "norm_eps": 1e-5, "rope_theta": 1e4},
    **{"window": 4096, "max_positions": 32768},
}


def test_mistral_7b_has_the_published_number_of_weights():
    assert MISTRAL_7B.n_weights == 7_241_732_096


def test_equal_layers_are_one_entry_and_defaults_are_left_out():
    assert plain_config(MISTRAL_7B) == {
        **{"dim": 4096, "vocab_size": 32000, "norm_eps": 1e-5, "max_positions": 32768},
        "rope_tables": [{"theta": 10_000.0, "rotary_dim": 128}],
        "layers": [OF_MISTRAL | {"window": 4096}],
    }
    assert [layer["count"] for layer in plain_config(MIXED)["layers"]] == [3, 1, 1]


@pytest.mark.parametrize("config", [MISTRAL_7B, MIXED], ids=["uniform", "mixed"])
def test_a_config_survives_json(config):
    assert read_config(json.loads(json.dumps(plain_config(config)))) == config


def test_the_config_of_a_store_of_version_1_is_read():
    assert read_config(MISTRAL_VERSION_1) == MISTRAL_7B


def test_a_text_may_grow_past_the_widest_window_only_if_every_layer_has_one():
    assert MISTRAL_7B.widest_window == 4096
    assert MIXED.widest_window is None
    layers = (replace(LAYER, window=8), replace(LAYER, window=32))
    assert replace(MIXED, layers=layers).widest_window == 32


@pytest.mark.parametrize("values", [MISTRAL_VERSION_1, plain_config(MISTRAL_7B)], ids=["1", "2"])
def test_a_missing_or_ill_typed_field_is_named(values):
    for name in values:
        if name != "n_layers":  # by which a version 1 is known
            with pytest.raises(UnsupportedModel, match=f"lacks {name}"):
                read_config({k: v for k, v in values.items() if k != name})
        with pytest.raises(UnsupportedModel, match=name):
            read_config(values | {name: "many"})


@pytest.mark.parametrize("name", ["n_heads", "head_dim", "hidden_dim", "count"])
def test_a_missing_field_of_a_layer_is_named(name):
    layer = {key: value for key, value in OF_MISTRAL.items() if key != name}
    with pytest.raises(UnsupportedModel, match=name):
        read_config(plain_config(MISTRAL_7B) | {"layers": [layer]})


@pytest.mark.parametrize(
    "values",
    [
        MISTRAL_VERSION_1 | {"experts": 8},
        plain_config(MISTRAL_7B) | {"experts": 8},
        plain_config(MISTRAL_7B) | {"layers": [OF_MISTRAL | {"experts": 8}]},
        plain_config(MISTRAL_7B) | {"rope_tables": [{"theta": 1e4, "rotary_dim": 2, "experts": 8}]},
    ],
)
def test_an_unknown_field_is_named(values):
    with pytest.raises(UnsupportedModel, match="experts"):
        read_config(values)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"n_kv_heads": 5}, "n_kv_heads is 5; it must divide n_heads, 32"),
        ({"head_dim": 127}, "head_dim is 127; it must be even"),
        ({"count": 10**9}, "more than 1024 layers"),
        ({"count": 0}, "count of layers is 0"),
        ({"hidden_dim": 524288, "n_heads": 1024, "count": 500}, "billion weights"),
        ({"window": 0}, "window is 0; it must be from 1"),
        ({"rope_table": 1}, "rope_table is 1; the model has 1"),
        ({"rope_table": True}, "rope_table is true"),
        ({"head_dim": 64}, "rotary_dim is 128; it must be at most head_dim, 64"),
        ({"qk_norm": 1}, "qk_norm is 1; it must be true or false"),
        ({"query_scale": 0}, "query_scale is 0.0; it must be above 0"),
    ],
)
def test_a_layer_that_cannot_be_computed_is_refused_in_the_words_of_its_fields(changes, said):
    with pytest.raises(UnsupportedModel) as refusal:
        read_config(plain_config(MISTRAL_7B) | {"layers": [OF_MISTRAL | changes]})
    assert said in str(refusal.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"norm_eps": float("nan")}, "norm_eps is NaN"),
        ({"layers": []}, "n_layers is 0"),
        ({"layers": OF_MISTRAL}, "it must be a list of objects"),
        ({"rope_tables": [{"theta": 1e4, "rotary_dim": 128}] * 9}, "9 rope tables"),
        ({"rope_tables": [{"theta": 0.5, "rotary_dim": 128}]}, "theta is 0.5"),
        ({"rope_tables": [{"theta": 1e4, "rotary_dim": 128, "factors": [1.0]}]}, "1 rope factors"),
        (
            {"rope_tables": [{"theta": 1e4, "rotary_dim": 2, "factors": [0.0]}]},
            "factors is [0.0]; it must be above 0",
        ),
    ],
)
def test_a_model_that_cannot_be_computed_is_refused_in_the_words_of_its_fields(changes, said):
    with pytest.raises(UnsupportedModel) as refusal:
        read_config(plain_config(MISTRAL_7B) | changes)
    assert said in str(refusal.value)

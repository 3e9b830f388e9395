"""Each family reads its published configurations as the model that they are, to the last field."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pi_cluster.transformer.config_form import plain_config, read_config
from pi_cluster.transformer.errors import UnsupportedModel
from pi_cluster.transformer.families.config_json import read_config_json
from pi_cluster.transformer.families.params_json import read_params_json
from pi_cluster.transformer.families.registry import FAMILIES, family_of, family_of_gguf
from tests.support.json_values import json_values
from tests.support.published_configurations import LLAMA_2_7B, MISTRAL_V1, MISTRAL_V2_PARAMS
from tests.support.published_families import PUBLISHED

LLAMA_31 = PUBLISHED["Llama-3.1-8B-Instruct"][0]
QWEN2 = PUBLISHED["Qwen2.5-0.5B"][0]
QWEN3 = PUBLISHED["Qwen3-0.6B"][0]
SMOLLM3 = PUBLISHED["SmolLM3-3B"][0]


def layers_of(values):
    return read_config_json(values).config.layers


def windows_of(values):
    return [layer.window for layer in layers_of(values)]


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_configuration_is_exactly_this_model(name):
    values, expected, tied = PUBLISHED[name]
    read = read_config_json(values)
    (table,), (expected_table,) = read.config.rope_tables, expected.rope_tables
    assert replace(read.config, rope_tables=expected.rope_tables) == expected
    assert (table.theta, table.rotary_dim) == (expected_table.theta, expected_table.rotary_dim)
    assert table.factors == (
        expected_table.factors and pytest.approx(expected_table.factors, rel=1e-6)
    )
    assert (read.tied, read.notes) == (tied, ())
    assert read.family.architecture == values["architectures"][0]


def test_llama_has_biases_on_every_projection_of_attention_if_its_file_says_so():
    (layer,) = set(layers_of(LLAMA_31 | {"attention_bias": True}))
    assert (layer.qkv_bias, layer.o_bias) == (True, True)


def test_qwen2_has_biases_on_queries_keys_and_values_whatever_its_file_says():
    for said in ({}, {"attention_bias": False}, {"attention_bias": True}):
        (layer,) = set(layers_of(QWEN2 | said))
        assert (layer.qkv_bias, layer.o_bias) == (True, False)


@pytest.mark.parametrize("values", [QWEN2, QWEN3], ids=["qwen2", "qwen3"])
def test_windows_of_qwen_begin_at_the_layer_that_the_file_names(values):
    used = {"use_sliding_window": True, "sliding_window": 64}
    n_layers = values["num_hidden_layers"]
    assert windows_of(values | used | {"max_window_layers": 21}) == [None] * 21 + [64] * (
        n_layers - 21
    )
    assert windows_of(values | used | {"max_window_layers": 0}) == [64] * n_layers
    assert windows_of(values | used | {"use_sliding_window": False}) == [None] * n_layers
    assert windows_of(values | used | {"sliding_window": None}) == [None] * n_layers


@pytest.mark.parametrize("values", [QWEN2, QWEN3], ids=["qwen2", "qwen3"])
def test_what_qwens_file_leaves_out_of_its_windows_is_taken_from_transformers_and_noted(values):
    lacking = ("sliding_window", "max_window_layers")
    values = {k: v for k, v in values.items() if k not in lacking} | {"num_hidden_layers": 30}
    read = read_config_json(values | {"use_sliding_window": True})
    assert [layer.window for layer in read.config.layers] == [None] * 28 + [4096] * 2
    assert sorted(note.split(":")[0] for note in read.notes) == [
        "config.json has no max_window_layers",
        "config.json has no sliding_window",
    ]
    assert read_config_json(values).notes == ()


@pytest.mark.parametrize("values", [QWEN2, QWEN3, SMOLLM3], ids=["qwen2", "qwen3", "smollm3"])
def test_a_list_of_layer_types_says_which_layers_have_the_window(values):
    n_layers = values["num_hidden_layers"]
    types = ["sliding_attention", "full_attention"] * (n_layers // 2)
    used = {"use_sliding_window": True, "sliding_window": 64, "layer_types": types}
    assert windows_of(values | used) == [64, None] * (n_layers // 2)


def test_qwen3_has_heads_of_128_where_its_file_does_not_say_it_and_a_note_says_so():
    read = read_config_json({k: v for k, v in QWEN3.items() if k != "head_dim"})
    assert {layer.head_dim for layer in read.config.layers} == {128}
    assert "config.json has no head_dim: 128 is taken" in read.notes[0]


def test_smollm3_is_tied_where_its_file_does_not_say_it():
    assert read_config_json({k: v for k, v in SMOLLM3.items() if k != "tie_word_embeddings"}).tied


@pytest.mark.parametrize(
    ("said", "turned"),
    [
        ({"no_rope_layers": None}, [True, True, True, False] * 9),
        ({"no_rope_layers": None, "no_rope_layer_interval": 2}, [True, False] * 18),
        ({"no_rope_layers": [0, 1] * 18}, [False, True] * 18),
        ({"no_rope_layers": [1] * 40}, [True] * 36),
    ],
)
def test_smollm3_does_not_turn_the_layers_that_its_list_has_as_0(said, turned):
    tables = [layer.rope_table for layer in layers_of(SMOLLM3 | said)]
    assert tables == [0 if one else None for one in turned]


def test_windows_of_smollm3_are_on_the_layers_that_are_not_turned():
    used = {"use_sliding_window": True, "sliding_window": 64}
    assert windows_of(SMOLLM3 | used) == [None, None, None, 64] * 9


@pytest.mark.parametrize("architecture", ["MistralForCausalLM", "MinistralForCausalLM"])
def test_ministral_8b_has_windows_on_the_layers_that_its_list_names(architecture):
    types = (["full_attention"] + ["sliding_attention"] * 3) * 8
    values = MISTRAL_V1 | {
        "architectures": [architecture],
        "model_type": architecture.removesuffix("ForCausalLM").lower(),
        "layer_types": types,
    }
    assert windows_of(values) == [None, 4096, 4096, 4096] * 8


def test_a_pattern_of_windows_in_params_json_repeats_over_the_layers():
    values = MISTRAL_V2_PARAMS | {"n_layers": 36, "_sliding_window": [None, 32768, 32768, 32768]}
    read = read_params_json(values)
    assert [layer.window for layer in read.config.layers] == [None, 32768, 32768, 32768] * 9


def test_newer_files_have_the_scaling_of_llama_3_in_rope_parameters():
    scaling, theta = LLAMA_31["rope_scaling"], LLAMA_31["rope_theta"]
    newer = {k: v for k, v in LLAMA_31.items() if k not in ("rope_scaling", "rope_theta")}
    newer["rope_parameters"] = scaling | {"rope_theta": theta}
    assert read_config_json(newer) == read_config_json(LLAMA_31)


@pytest.mark.parametrize(
    ("values", "changes", "said"),
    [
        (LLAMA_31, {"mlp_bias": True}, ["mlp_bias is true"]),
        (LLAMA_31, {"layer_types": ["sliding_attention"] * 32}, ["layer_types", "no window"]),
        (LLAMA_31, {"use_sliding_window": True}, ["use_sliding_window", "no window"]),
        (LLAMA_31, {"no_rope_layers": [1] * 32}, ["no_rope_layers", "not known here"]),
        (QWEN2, {"use_mrope": True}, ["use_mrope is true"]),
        (QWEN2, {"rope_scaling": {"type": "yarn", "factor": 4.0}}, ["rope_scaling", "yarn"]),
        (QWEN2, {"max_window_layers": -1}, ["max_window_layers is -1"]),
        (QWEN2, {"use_sliding_window": True, "sliding_window": 0}, ["sliding_window is 0"]),
        (QWEN3, {"use_sliding_window": "yes"}, ["use_sliding_window"]),
        (QWEN3, {"layer_types": ["sliding_attention"] * 28}, ["layer_types", "no window"]),
        (QWEN3, {"layer_types": ["full_attention"] * 27}, ["layer_types", "28"]),
        (QWEN3, {"layer_types": ["chunked_attention"] * 28}, ["layer_types", "chunked"]),
        (SMOLLM3, {"no_rope_layers": [1, 0]}, ["no_rope_layers", "36 layers"]),
        (SMOLLM3, {"no_rope_layers": [2] * 36}, ["no_rope_layers", "0 or 1"]),
        (SMOLLM3, {"no_rope_layer_interval": 0}, ["no_rope_layer_interval is 0"]),
        (LLAMA_2_7B, {"rope_scaling": {"rope_type": "llama3"}}, ["rope_scaling", "lacks"]),
    ],
)
def test_what_a_family_does_not_compute_is_refused_by_its_key(values, changes, said):
    with pytest.raises(UnsupportedModel) as refusal:
        read_config_json(values | changes)
    message = str(refusal.value)
    assert message.startswith("config.json")
    assert all(words in message for words in said), message


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("factor", 0.5),
        ("factor", "8"),
        ("factor", None),
        ("low_freq_factor", 4.0),
        ("low_freq_factor", -1),
        ("high_freq_factor", 1e9),
        ("original_max_position_embeddings", 0),
        ("original_max_position_embeddings", None),
        ("attention_factor", 0.5),
        ("beta_fast", 32),
        ("rope_theta", 1e4),
    ],
)
def test_a_scaling_of_llama_3_that_is_not_whole_and_sound_is_refused_by_its_key(key, value):
    scaling = LLAMA_31["rope_scaling"] | {key: value}
    with pytest.raises(UnsupportedModel, match=r"^config.json.*(rope|freq_factor)"):
        read_config_json(LLAMA_31 | {"rope_scaling": scaling})


def test_two_scalings_that_differ_are_refused():
    plain = {"rope_type": "default", "rope_theta": LLAMA_31["rope_theta"]}
    with pytest.raises(UnsupportedModel, match=r"rope_scaling.*rope_parameters says otherwise"):
        read_config_json(LLAMA_31 | {"rope_parameters": plain})


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from([LLAMA_31, QWEN2, QWEN3, SMOLLM3]),
    st.dictionaries(
        st.sampled_from(
            [*LLAMA_31, *QWEN3, *SMOLLM3, "layer_types", "rope_parameters", "architectures"]
        ),
        json_values,
    ),
    st.dictionaries(st.sampled_from([*LLAMA_31["rope_scaling"], "other"]), json_values),
)
def test_no_file_of_any_family_raises_anything_but_a_refusal(values, changes, of_scaling):
    scaling = {"rope_scaling": LLAMA_31["rope_scaling"] | of_scaling}
    for said in (values | changes, values | scaling):
        try:
            config = read_config_json(said).config
        except UnsupportedModel:
            continue
        assert read_config(plain_config(config)) == config


@pytest.mark.parametrize(
    ("architecture", "needs"),
    [
        ("MixtralForCausalLM", "experts"),
        ("Qwen3MoeForCausalLM", "experts"),
        ("GptOssForCausalLM", "attention sinks"),
        ("Gemma3ForCausalLM", "gelu_tanh"),
        ("Phi3ForCausalLM", "longrope"),
        ("Mistral3ForConditionalGeneration", "yarn"),
        ("Qwen3_5ForConditionalGeneration", "gated DeltaNet"),
        ("BitNetForCausalLM", "ternary"),
    ],
)
def test_an_architecture_that_is_not_read_is_refused_with_what_it_needs_and_what_is_read(
    architecture, needs
):
    with pytest.raises(UnsupportedModel) as refusal:
        read_config_json(MISTRAL_V1 | {"architectures": [architecture]})
    message = str(refusal.value)
    assert message.startswith(f'config.json: architecture "{architecture}" is not supported')
    assert needs in message
    assert all(family.architecture in message for family in FAMILIES)


def test_nothing_is_said_to_be_needed_by_an_architecture_that_nobody_knows():
    with pytest.raises(UnsupportedModel) as refusal:
        family_of("Zaphod\x1bForCausalLM", "config.json")
    assert "needs" not in str(refusal.value)
    assert str(refusal.value).isprintable()


def test_every_family_is_found_by_its_names():
    for family in FAMILIES:
        assert family_of(family.architecture, "config.json") is family
        for name in family.gguf.architectures if family.gguf else ():
            assert family_of_gguf(name, "model.gguf") is family
    with pytest.raises(UnsupportedModel, match=r"^model.gguf: architecture \"gemma3\".*gelu_tanh"):
        family_of_gguf("gemma3", "model.gguf")

import json

import pytest

from pi_cluster.transformer.config import ModelConfig
from pi_cluster.transformer.errors import UnsupportedModel
from tests.support.published_configurations import MISTRAL_7B


def test_mistral_7b_has_the_published_number_of_weights():
    assert MISTRAL_7B.n_weights == 7_241_732_096


def test_a_config_survives_json():
    assert ModelConfig.from_dict(json.loads(json.dumps(MISTRAL_7B.to_dict()))) == MISTRAL_7B


@pytest.mark.parametrize("name", sorted(MISTRAL_7B.to_dict()))
def test_a_missing_or_ill_typed_field_is_named(name):
    values = MISTRAL_7B.to_dict()
    with pytest.raises(UnsupportedModel, match=name):
        ModelConfig.from_dict({k: v for k, v in values.items() if k != name})
    with pytest.raises(UnsupportedModel, match=name):
        ModelConfig.from_dict(values | {name: "many"})


def test_an_unknown_field_is_named():
    with pytest.raises(UnsupportedModel, match="experts"):
        ModelConfig.from_dict(MISTRAL_7B.to_dict() | {"experts": 8})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"n_kv_heads": 5}, "n_kv_heads is 5; it must divide n_heads, 32"),
        ({"head_dim": 127}, "head_dim is 127; it must be even"),
        ({"n_layers": 10**9}, "n_layers is 1000000000; it must be from 1 to 1024"),
        ({"dim": 32768, "hidden_dim": 524288}, "billion weights"),
        ({"norm_eps": float("nan")}, "norm_eps is NaN"),
    ],
)
def test_a_model_that_cannot_be_computed_is_refused_in_the_words_of_its_fields(changes, said):
    with pytest.raises(UnsupportedModel) as refusal:
        ModelConfig.from_dict(MISTRAL_7B.to_dict() | changes)
    assert said in str(refusal.value)

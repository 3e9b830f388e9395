"""What a served model is called, and by which names it is meant."""

import pytest

from pi_cluster.server.asking.model_card import ModelCard, model_id
from tests.support.checkpoints import small_config


def card(name):
    return ModelCard(
        *(name, 0, "0" * 64, 1, 512, small_config(n_layers=2), ("q4",)),
        has_chat=True,
        can_think=False,
        can_switch_thinking=False,
    )


@pytest.mark.parametrize(
    ("said", "called"),
    [
        ("", "storyteller"),
        ("mistralai/Mistral-7B-Instruct-v0.3", "mistralai/Mistral-7B-Instruct-v0.3"),
        ("bartowski/Qwen3-4B-GGUF:Q4_K_M", "bartowski/Qwen3-4B-GGUF:Q4_K_M"),
        ("/home/ada/SmolLM2-135M-Instruct.Q4_1.gguf", "SmolLM2-135M-Instruct.Q4_1"),
        ("/home/ada/stores/mistral-q4", "mistral-q4"),
        ("/home/ada/.cache/pi-cluster/stores/Zephyr+0123abcd", "Zephyr"),
    ],
)
def test_a_model_is_called_as_it_was_pulled_or_after_its_file(said, called):
    assert model_id(said) == called


@pytest.mark.parametrize(
    "name",
    [
        *("Org/Mistral-7B:Q4_K_M", "org/mistral-7b:q4_k_m", "mistral-7b:Q4_K_M"),
        *("hf.co/Org/Mistral-7B:Q4_K_M", " Org/Mistral-7B:Q4_K_M:latest"),
    ],
)
def test_a_pulled_model_is_meant_in_any_case_and_without_its_owner(name):
    assert card("Org/Mistral-7B:Q4_K_M").is_called(name)


@pytest.mark.parametrize("name", ["", "latest", "mistral", "other/mistral-7b:q4_k_m", ":latest"])
def test_other_names_mean_other_models(name):
    assert not card("Org/Mistral-7B:Q4_K_M").is_called(name)

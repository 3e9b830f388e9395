"""What may be asked of a generation, and of the model it runs on."""

import pytest

from pi_cluster.cluster import settings
from pi_cluster.coordinator.generation import GenerationOptions
from pi_cluster.coordinator.served_model import ServedModel
from pi_cluster.transformer.errors import PromptError, SettingsError
from pi_cluster.transformer.sampling_settings import SamplingSettings

MODEL = ServedModel(vocab_size=100, bos_id=1, eos_ids=frozenset({2}), context=None)
SHORT = ServedModel(vocab_size=100, bos_id=1, eos_ids=frozenset({2}), context=8)


@pytest.mark.parametrize("count", [0, -1])
def test_fewer_than_one_token_is_refused_by_name(count):
    with pytest.raises(SettingsError, match=rf"^max-tokens is {count}; it must be at least 1$"):
        GenerationOptions(max_tokens=count)


@pytest.mark.parametrize("size", [0, -7, settings.MAX_STEP_ROWS + 1])
def test_a_chunk_size_that_no_stage_takes_is_refused_by_name_and_range(size):
    expected = rf"^chunk-size is {size}; it must be from 1 to {settings.MAX_STEP_ROWS}$"
    with pytest.raises(SettingsError, match=expected):
        GenerationOptions(chunk_size=size)


@pytest.mark.parametrize("count", [-1, 21, 1.5, "5"])
def test_alternatives_beyond_twenty_are_refused_by_name_and_range(count):
    with pytest.raises(SettingsError, match=r"^logprobs is .*; it must be from 0 to 20$"):
        GenerationOptions(logprobs=count)


def test_log_probabilities_need_as_many_candidates_as_alternatives():
    greedy, few = SamplingSettings(temperature=0), SamplingSettings(top_k=40)
    penalised = SamplingSettings(presence_penalty=0.1)
    for sampling, logprobs, candidates in (
        *((greedy, None, 1), (greedy, 0, 1), (greedy, 20, 20)),
        *((few, 20, 40), (penalised, None, 0), (penalised, 5, 0)),
    ):
        assert GenerationOptions(sampling, logprobs=logprobs).candidates == candidates


def test_the_ends_of_the_ranges_are_allowed():
    GenerationOptions(max_tokens=1, chunk_size=1)
    GenerationOptions(chunk_size=settings.MAX_STEP_ROWS)


def test_the_defaults_are_within_their_ranges():
    options = GenerationOptions()
    assert options.chunk_size is None and options.draft
    assert not options.ignore_eos


def test_a_prompt_of_no_tokens_is_refused():
    with pytest.raises(PromptError, match="the prompt is empty"):
        MODEL.check_prompt([])


@pytest.mark.parametrize("token_id", [-1, 100, 2**40])
def test_an_id_outside_the_vocabulary_is_refused_by_name_and_range(token_id):
    with pytest.raises(PromptError, match=rf"token id {token_id} is outside .* 0\.\.99"):
        MODEL.check_prompt([0, 99, token_id])


def test_a_prompt_must_leave_room_for_a_token_in_the_context():
    SHORT.check_prompt([5] * 7)
    with pytest.raises(PromptError, match=r"has 8 tokens and .* context is 8: .*--context"):
        SHORT.check_prompt([5] * 8)


def test_a_model_with_a_window_takes_prompts_of_any_length():
    MODEL.check_prompt([5] * 100_000)

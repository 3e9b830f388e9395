"""Choosing the next id: order and ties, what each setting does, and that a draw repeats."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pi_cluster.transformer.errors import ModelError, SettingsError
from pi_cluster.transformer.sampling import (
    Candidates,
    candidates_needed,
    distribution,
    sample,
    top_candidates,
)
from pi_cluster.transformer.sampling_settings import SamplingSettings

# Few distinct values, so that ties are the rule.
tied_logits = st.lists(st.integers(-3, 3), min_size=1, max_size=40).map(
    lambda values: np.array(values, dtype=np.float32) / 2
)
any_settings = st.builds(
    SamplingSettings,
    temperature=st.sampled_from([0.0, 0.3, 1.0, 2.5]),
    top_k=st.integers(0, 12),
    top_p=st.sampled_from([0.2, 0.9, 1.0]),
    min_p=st.sampled_from([0.0, 0.3, 1.0]),
    repeat_penalty=st.sampled_from([0.8, 1.0, 1.3]),
    seed=st.integers(0, 2**64 - 1),
)


def logits_of(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", math.nan),
        ("temperature", math.inf),
        ("temperature", -0.1),
        ("temperature", 10**400),
        ("temperature", "hot"),
        ("temperature", True),
        ("top_k", -1),
        ("top_k", 3.0),
        ("top_k", True),
        ("top_k", 2**31),
        ("top_p", 0.0),
        ("top_p", 1.0001),
        ("top_p", math.nan),
        ("min_p", -0.001),
        ("min_p", 1.001),
        ("min_p", math.nan),
        ("repeat_penalty", 0.0),
        ("repeat_penalty", -1.0),
        ("repeat_penalty", math.inf),
        ("seed", -1),
        ("seed", 2**64),
        ("seed", 1.0),
        ("presence_penalty", -2.01),
        ("presence_penalty", math.nan),
        ("frequency_penalty", 2.01),
        ("frequency_penalty", True),
        ("logit_bias", 5),
    ],
)
def test_a_setting_out_of_range_is_refused_by_name_value_and_range(name, value):
    with pytest.raises(SettingsError) as refusal:
        SamplingSettings(**{name: value})
    assert str(refusal.value).startswith(f"{name} = {value!r} is not allowed; it must be ")
    assert any(digit in str(refusal.value).split("must be ")[1] for digit in "01")


@pytest.mark.parametrize(
    "bias", [{"5": 1}, {-1: 1}, {5: 101}, {5: -100.5}, {5: math.nan}, {5: None}, {True: 1}]
)
def test_a_bias_that_is_no_number_of_an_id_is_refused_with_what_it_holds(bias):
    with pytest.raises(SettingsError, match=r"^logit_bias has .* from -100 to 100$"):
        SamplingSettings(logit_bias=bias)


def test_a_bias_stays_as_it_was_checked():
    bias = {5: 1.0}
    settings_ = SamplingSettings(logit_bias=bias)
    bias[5] = 1e9
    assert settings_.logit_bias == {5: 1.0}


@settings(max_examples=200)
@given(
    logits=st.lists(st.integers(-8, 8), min_size=2, max_size=30),
    prompt=st.lists(st.integers(0, 29), max_size=8),
    generated=st.lists(st.integers(0, 29), max_size=12),
    bias=st.dictionaries(st.integers(0, 40), st.sampled_from([-100, -1.5, 0.25, 3]), max_size=4),
    penalties=st.tuples(
        st.sampled_from([1.0, 1.5]),
        st.sampled_from([-2.0, 0.0, 0.5]),
        st.sampled_from([-0.25, 0.0, 2.0]),
    ),
)
def test_bias_and_penalties_are_those_of_a_loop_over_the_ids(
    logits, prompt, generated, bias, penalties
):
    repeat, presence, frequency = penalties
    changed = [float(one) for one in logits]
    for token in range(len(changed)):
        changed[token] += bias.get(token, 0)
        if token in prompt or token in generated:
            changed[token] *= 1 / repeat if changed[token] > 0 else repeat
        count = generated.count(token)
        changed[token] -= presence * (count > 0) + frequency * count
    settings_ = SamplingSettings(
        *(1.0, 0, 1.0, 0.0, repeat),
        presence_penalty=presence,
        frequency_penalty=frequency,
        logit_bias=bias,
    )
    everything = top_candidates(np.array(logits, np.float32), candidates_needed(settings_))
    ids, shares = distribution(everything, settings_, {*prompt, *generated}, Counter(generated))
    wanted = np.exp(np.array(changed) - max(changed))
    got = np.zeros(len(changed))
    got[ids] = shares
    assert np.allclose(got, wanted / wanted.sum(), rtol=1e-9, atol=1e-300)


def test_the_ends_of_every_range_are_allowed():
    SamplingSettings(temperature=0, top_k=0, top_p=1, min_p=0, repeat_penalty=1e-300, seed=0)
    SamplingSettings(temperature=1e300, top_p=1e-9, min_p=1, seed=2**64 - 1)


@settings(max_examples=150)
@given(logits=tied_logits, count=st.integers(0, 45))
def test_top_candidates_are_the_first_of_a_full_sort_also_among_ties(logits, count):
    expected = sorted(range(len(logits)), key=lambda i: (-logits[i], i))[: count or None]
    found = top_candidates(logits, count)
    assert found.ids.tolist() == expected
    assert found.logits.tolist() == logits[expected].tolist()
    assert (found.ids.dtype, found.logits.dtype) == (np.int32, np.float32)


@pytest.mark.parametrize("count", [1, 2, 40, 127, 128, 129])
@pytest.mark.parametrize("steps", [1, 10, 10**6])
def test_top_candidates_of_a_large_vocabulary_are_the_first_of_a_full_sort(count, steps):
    numbers = np.random.default_rng(count + steps)
    logits = (numbers.integers(0, steps, 64 * 128 + 7) / np.float32(steps)).astype(np.float32)
    logits[-7:] = 2.0  # behind the last whole column
    best = np.argsort(-logits, kind="stable")[:count]
    found = top_candidates(logits, count)
    assert np.array_equal(found.ids, best) and np.array_equal(found.logits, logits[best])


@settings(max_examples=300)
@given(
    logits=tied_logits,
    chosen=any_settings,
    position=st.integers(0, 2**32),
    seen=st.lists(st.integers(0, 39), max_size=8),
)
def test_the_candidates_needed_give_the_same_id_as_all(logits, chosen, position, seen):
    few = top_candidates(logits, candidates_needed(chosen))
    everything = top_candidates(logits, 0)
    assert sample(few, chosen, position, seen) == sample(everything, chosen, position, seen)


def test_fewer_candidates_are_asked_for_only_where_they_suffice():
    assert candidates_needed(SamplingSettings(temperature=0)) == 1
    assert candidates_needed(SamplingSettings(top_k=7)) == 7
    assert candidates_needed(SamplingSettings(top_k=0)) == 0
    assert candidates_needed(SamplingSettings(temperature=0, repeat_penalty=1.1)) == 0
    assert candidates_needed(SamplingSettings(top_k=7, repeat_penalty=1.1)) == 0


def test_greedy_takes_the_lowest_id_of_the_best():
    greedy = SamplingSettings(temperature=0)
    everything = top_candidates(logits_of(1, 5, 2, 5), 0)
    assert [sample(everything, greedy, position, []) for position in range(20)] == [1] * 20


def test_a_penalty_divides_positive_and_multiplies_negative_logits_of_seen_ids_once():
    penalised = SamplingSettings(temperature=1, top_k=0, repeat_penalty=2)
    ids, probabilities = distribution(
        top_candidates(logits_of(4, 3, -1, -1.5), 0), penalised, [0, 0, 0, 2]
    )
    expected = {1: 3, 0: 2, 3: -1.5, 2: -2}
    weights = np.exp(np.array(list(expected.values()), dtype=np.float64))
    assert ids.tolist() == list(expected)
    np.testing.assert_allclose(probabilities, weights / weights.sum(), rtol=1e-12)


def test_a_penalty_can_change_the_greedy_choice():
    settings_ = SamplingSettings(temperature=0, repeat_penalty=2)
    assert sample(top_candidates(logits_of(4, 3), 0), settings_, 0, [0]) == 1


def test_top_p_keeps_the_smallest_set_that_reaches_it_and_never_nothing():
    # Probabilities 1/2, 1/4, 1/4 are exact in binary.
    everything = top_candidates(np.log(logits_of(0.5, 0.25, 0.25)), 0)
    kept = {
        p: distribution(everything, SamplingSettings(temperature=1, top_k=0, top_p=p), [])[
            0
        ].tolist()
        for p in (1e-9, 0.49, 0.51, 0.74, 0.76, 1.0)
    }
    assert kept == {
        1e-9: [0],
        0.49: [0],
        0.51: [0, 1],
        0.74: [0, 1],
        0.76: [0, 1, 2],
        1.0: [0, 1, 2],
    }


def test_min_p_is_relative_to_the_best_probability():
    everything = top_candidates(np.log(logits_of(0.6, 0.29, 0.11)), 0)
    ids, probabilities = distribution(
        everything, SamplingSettings(temperature=1, top_k=0, min_p=0.3), []
    )
    assert ids.tolist() == [0, 1]
    np.testing.assert_allclose(probabilities, [0.6 / 0.89, 0.29 / 0.89], rtol=1e-6)


@pytest.mark.parametrize("temperature", [5e-324, 1e-300, 1e300])
def test_extreme_temperatures_give_probabilities(temperature):
    _, probabilities = distribution(
        top_candidates(logits_of(3, 1, -90), 0), SamplingSettings(temperature=temperature), [0]
    )
    assert np.isfinite(probabilities).all()
    assert probabilities.sum() == pytest.approx(1)


def test_an_extreme_penalty_gives_probabilities():
    settings_ = SamplingSettings(repeat_penalty=5e-324)
    _, probabilities = distribution(top_candidates(logits_of(3, 1, -90), 0), settings_, [0, 1, 2])
    assert np.isfinite(probabilities).all()


def test_draws_follow_the_distribution():
    logits = np.log(logits_of(0.5, 0.3, 0.15, 0.05))
    everything = top_candidates(logits, 0)
    settings_ = SamplingSettings(temperature=1, top_k=0, seed=11)
    count = 4000
    drawn = Counter(sample(everything, settings_, position, []) for position in range(count))
    expected = np.exp(logits) * count
    chi_square = sum((drawn[i] - expected[i]) ** 2 / expected[i] for i in range(4))
    assert chi_square < 16.3  # the 99.9th percentile for 3 degrees of freedom


def test_a_draw_depends_on_seed_and_position_alone():
    everything = top_candidates(np.zeros(1000, dtype=np.float32), 0)

    def draw(seed: int, position: int) -> int:
        return sample(everything, SamplingSettings(top_k=0, seed=seed), position, [])

    forward = [draw(2**64 - 1, position) for position in range(50)]
    backward = [draw(2**64 - 1, position) for position in reversed(range(50))]
    assert forward == backward[::-1]
    assert len(set(forward)) > 40
    assert forward != [draw(2**64 - 2, position) for position in range(50)]


def test_draws_stay_the_same_from_release_to_release():
    everything = top_candidates(np.zeros(32000, dtype=np.float32), 0)
    settings_ = SamplingSettings(top_k=0, seed=7)
    assert [sample(everything, settings_, position, []) for position in range(4)] == [
        27906,
        28238,
        11729,
        15428,
    ]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("chosen", [SamplingSettings(temperature=0), SamplingSettings(top_k=2)])
def test_nan_and_infinite_logits_are_reported_however_few_candidates_travel(bad, chosen):
    logits = logits_of(9, 8, 7, bad, 6)
    with pytest.raises(ModelError, match=r"the model produced NaN .* at position 42"):
        sample(top_candidates(logits, candidates_needed(chosen)), chosen, 42, [])


def test_masked_logits_are_never_drawn():
    logits = logits_of(-math.inf, 0, -math.inf)
    settings_ = SamplingSettings(temperature=5, top_k=0, repeat_penalty=1.5)
    drawn = {sample(top_candidates(logits, 0), settings_, p, [0, 1]) for p in range(200)}
    assert drawn == {1}


def test_candidates_without_ids_or_of_two_lengths_are_refused():
    for ids, logits in (([], []), ([1, 2], [0.5])):
        with pytest.raises(ModelError, match="as many ids as logits"):
            Candidates(np.array(ids, np.int32), np.array(logits, np.float32))

"""Benchmarks before and after the pipeline: what is asked, what fits, what figures come of it."""

import itertools
import random

import pytest

from pi_cluster.coordinator.bench.bench import (
    BenchOptions,
    BenchRun,
    BenchTest,
    Phase,
    check_room,
    planned_tests,
)
from pi_cluster.coordinator.bench.rows import Percentiles, Spread, summarise
from pi_cluster.coordinator.generation import Generation, GenerationOptions
from pi_cluster.coordinator.measurement import Measurement
from pi_cluster.coordinator.scheduling.cache_limits import CacheLimits
from pi_cluster.coordinator.served_model import ServedModel
from pi_cluster.transformer.errors import PromptError, SettingsError
from tests.support.steps import ADDRESSES, step

WITHOUT_WINDOW = ServedModel(130, 1, frozenset(), 1024)
LIMITS = CacheLimits(8, 4 * 1024, 1024, (), 512)


def test_percentiles_lie_between_the_values_in_any_order():
    values = list(range(101))
    random.Random(1).shuffle(values)
    assert Percentiles.of(values) == Percentiles(50.0, 95.0)
    assert Percentiles.of([4.0]) == Percentiles(4.0, 4.0)
    assert Percentiles.of([1.0, 2.0]) == Percentiles(1.5, pytest.approx(1.95))


def test_a_single_value_has_no_deviation():
    assert Spread.of([3.0]) == Spread(3.0, 0.0)


def test_one_user_has_two_tests_and_several_numbers_one_each():
    alone = planned_tests(BenchOptions(512, 128))
    assert [test.name for test in alone] == ["pp512", "tg128"]
    deep = planned_tests(BenchOptions(512, 128, depth=4096))
    assert [test.name for test in deep] == ["pp512 @ d4096", "tg128 @ d4096"]
    several = planned_tests(BenchOptions(512, 128, users=(1, 4), depth=16))
    assert [(test.name, test.users) for test in several] == [
        ("pp512+tg128 @ d16", 1),
        ("pp512+tg128 @ d16", 4),
    ]


@pytest.mark.parametrize("depth", [1, 15])
def test_a_depth_that_the_caches_do_not_keep_is_refused(depth):
    with pytest.raises(SettingsError, match=f"depth is {depth}; .* at least 16"):
        BenchOptions(depth=depth)


def test_what_fits_to_the_last_token_is_taken():
    check_room(planned_tests(BenchOptions(500, 524, users=(4,))), WITHOUT_WINDOW, LIMITS)
    check_room(planned_tests(BenchOptions(500, 12, users=(8,))), WITHOUT_WINDOW, LIMITS)
    check_room(planned_tests(BenchOptions(1023, 1022)), WITHOUT_WINDOW, LIMITS)


def test_what_does_not_fit_is_refused_with_the_figures():
    with pytest.raises(PromptError, match=r"1025 tokens .* context of 1024: .* --context"):
        check_room(planned_tests(BenchOptions(500, 525, users=(4,))), WITHOUT_WINDOW, LIMITS)
    with pytest.raises(PromptError, match="pp8 @ d1016: 1025 tokens"):
        check_room(planned_tests(BenchOptions(8, 1, depth=1016)), WITHOUT_WINDOW, LIMITS)
    with pytest.raises(
        SettingsError, match=r"5 users need 5120 .* has 4096, so only 4 .*--texts 5"
    ):
        check_room(planned_tests(BenchOptions(500, 524, users=(1, 5))), WITHOUT_WINDOW, LIMITS)
    with pytest.raises(SettingsError, match="9 users are more than the 8 texts"):
        check_room(planned_tests(BenchOptions(8, 8, users=(9,))), WITHOUT_WINDOW, LIMITS)


def told(requested_at, *token_times):
    """A text whose tokens came at these times."""
    measured = Measurement(ADDRESSES, requested_at, prefill_began=requested_at)
    measured.first_token_at, measured.last_token_at = token_times[0], token_times[-1]
    measured.gaps_s += [b - a for a, b in itertools.pairwise(token_times)]
    generation = Generation([1] * 8, GenerationOptions(), measured, lambda _: None)
    generation.ids += [5] * len(token_times)
    return generation


def test_users_are_counted_together_and_each():
    generations = [told(10.0, 11.0, 12.0, 13.0), told(10.0, 12.0, 13.0, 16.0)]
    steps = [step(n, 10.0 + n, 0.1, (0.0, 0.0), (0.75, 1.5)) for n in range(4)]
    run = BenchRun(BenchTest(Phase.BOTH, 2, 0, 8, 3), 1, generations, steps)
    row = summarise([run], ADDRESSES)
    assert (row.test, row.users) == ("pp8+tg3", 2)
    assert row.tokens_per_second.mean == 1.0  # six tokens from 10 to 16
    assert row.user_tokens_per_second.mean == pytest.approx((2 / 2 + 2 / 4) / 2)
    assert row.ttft_ms.p50 == pytest.approx(1500)
    assert row.itl_ms.p50 == pytest.approx(1000)
    assert [stage.busy for stage in row.stages] == pytest.approx([0.5, 1.0])
    assert [stage.compute_ms for stage in row.stages] == pytest.approx([500, 1000])


def test_guesses_are_told_apart_by_who_made_them():
    generations = [told(10.0, 11.0, 12.0), told(10.0, 11.0, 12.0)]
    for name, is_right in (("model", True), ("model", False), ("n-gram", False)):
        generations[0].measurement.add_guess(name, is_right)
    generations[1].measurement.add_guess("model", is_right=True)
    steps = [step(n, 10.0 + n, 0.1, (0.0, 0.0), (0.75, 1.5)) for n in range(2)]
    row = summarise([BenchRun(BenchTest(Phase.BOTH, 2, 0, 8, 2), 1, generations, steps)], ADDRESSES)
    assert row.guesses == {"model": (2, 3), "n-gram": (0, 1)}


def test_prefill_ends_with_the_first_token_and_decode_begins_there():
    generation = told(10.0, 12.0, 16.0)
    steps = [step(n, at, 0.1, (0.0, 0.0), (1.0, 1.0)) for n, at in ((1, 10.0), (2, 12.5))]
    prefill = BenchRun(BenchTest(Phase.PREFILL, 1, 0, 8, 1), 1, [told(10.0, 12.0)], steps[:1])
    decode = BenchRun(BenchTest(Phase.DECODE, 1, 0, 1, 2), 1, [generation], steps)
    first, second = summarise([prefill], ADDRESSES), summarise([decode], ADDRESSES)
    assert (first.tokens_per_second.mean, first.stages[0].busy, first.itl_ms) == (4.0, 0.5, None)
    assert (second.tokens_per_second.mean, second.stages[0].busy) == (0.25, 0.25)
    assert second.itl_ms == Percentiles(4000, 4000)

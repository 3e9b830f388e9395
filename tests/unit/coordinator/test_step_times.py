"""What a step may take: by prediction, by what steps took, and never less than either."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pi_cluster.coordinator.step_times import StepTimes

SECONDS = st.floats(1e-4, 1e3)
ROWS = st.integers(1, 4096)


def test_nothing_is_expected_of_a_stage_that_nothing_is_known_of():
    times = StepTimes()
    assert times.expected_s(0, 1) is None
    times.note(1, [0.5])
    assert times.expected_s(0, 1) == 0.5
    assert times.expected_s(0, 64) is None and times.expected_s(1, 1) is None


def test_a_prompt_takes_no_longer_than_its_rows_one_by_one_nor_than_its_chunks():
    times = StepTimes([0.1, 0.2], prefill_tps=32.0, chunk_rows=64)
    assert [times.expected_s(stage, 1) for stage in (0, 1)] == [0.1, 0.2]
    assert times.expected_s(1, 4) == pytest.approx(0.8)
    assert times.expected_s(1, 64) == pytest.approx(2.0)
    assert times.expected_s(1, 512) == pytest.approx(16.0)


def test_steps_that_took_longer_than_predicted_count_until_they_are_long_past():
    times = StepTimes([0.1])
    times.note(1, [2.0])
    assert times.expected_s(0, 1) == 2.0
    times.note(1, [0.1])
    assert 1.5 < times.expected_s(0, 1) < 2.0
    for _ in range(200):
        times.note(1, [0.05])
    assert times.expected_s(0, 1) == 0.1


@settings(max_examples=60)
@given(row_s=SECONDS, rows=ROWS, took=st.lists(SECONDS, min_size=1, max_size=5))
def test_no_step_is_expected_to_take_less_than_the_one_before_of_its_size(row_s, rows, took):
    times = StepTimes([row_s], prefill_tps=1.0, chunk_rows=64)
    predicted = times.expected_s(0, rows)
    for seconds in took:
        times.note(rows, [seconds])
        assert times.expected_s(0, rows) >= max(predicted, seconds)
    assert times.expected_s(0, rows) <= max(predicted, *took)

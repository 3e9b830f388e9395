"""Sizes of steps that follow from how long steps took."""

import pytest

from pi_cluster.coordinator.scheduling.pace import Pace
from pi_cluster.coordinator.steps import StageTime, StepResult


def pace_of(step_s, sizes, *, stages=4, links_s=0.0):
    """A pace that has seen steps of these sizes take ``step_s(rows)`` at every stage."""
    pace = Pace(stages, 512)
    for rows in sizes:
        result = StepResult(1, (), (StageTime(step_s(rows), 0, 0),) * stages)
        pace.add(rows, result, stages * step_s(rows) + links_s)
    return pace


def pi5(rows):
    """A quarter of a 7B on a virtual Pi 5."""
    return max(0.089, rows * 0.0257)


@pytest.mark.parametrize(
    ("texts", "links_s", "groups"),
    [
        (16, 0.0, 4),  # four rows a step: 4 x 0.103 s, as short as a round can be
        (16, 0.14, 5),  # in 5 steps 31.4 rows a second, in 4 29.0, in 6 30.0
        (16, 90, 6),  # no step is any faster with fewer than three rows
        (5, 0.0, 4),
        (3, 0.0, 4),
        (1, 90, 4),  # one text cannot be divided
    ],
)
def test_texts_are_dealt_out_over_the_groups_that_go_round_soonest(texts, links_s, groups):
    assert pace_of(pi5, range(1, 17), links_s=links_s).groups(texts) == groups


def test_more_steps_are_in_flight_where_the_links_are_slow():
    assert pace_of(pi5, [1]).depth == 5
    assert pace_of(pi5, [1], links_s=0.09).depth == 6
    assert pace_of(pi5, [1], links_s=90).depth == 13


def test_rows_are_free_as_long_as_reading_the_weights_takes_longer():
    assert pace_of(pi5, [1, 2, 3, 4, 5, 8]).free_rows == 4


@pytest.mark.parametrize("prompt", [40, 512, 2048])
def test_chunks_are_of_the_size_that_is_soonest_through_all_stages(prompt):
    sizes = (16, 32, 64, 128, 256, 512)
    pace = pace_of(lambda rows: 1 + rows * 0.2, sizes)

    def total(size):
        return (-(-prompt // size) + 3) * (1 + min(size, prompt) * 0.2)

    assert total(pace.chunk_rows(prompt)) == min(map(total, sizes))


def test_prefill_beside_decode_at_most_doubles_a_step_or_has_a_few_rows():
    pace = pace_of(lambda rows: 10 + rows, range(1, 30))
    assert 10 <= pace.rows_beside(1) <= 12
    assert pace_of(lambda rows: rows, range(1, 9)).rows_beside(1) == 8


def test_it_can_be_asked_before_anything_was_measured():
    pace = Pace(3, 512)
    assert (pace.groups(9), pace.depth) == (3, 4)
    assert pace.free_rows >= 1 and 16 <= pace.chunk_rows(1000) <= 128


def test_a_guess_wins_a_round_beside_a_certain_row_and_all_but_a_step_by_itself():
    pace = pace_of(lambda rows: max(4.0, rows), range(1, 9), links_s=4.0)
    assert pace.stakes.win_s == pytest.approx(4 * 4 + 4 - 4)
    assert pace.stakes.cost_s == pytest.approx(2)
    assert pace.stakes_beside.win_s == pytest.approx(20)
    assert pace.stakes_beside.cost_s == 0, "up to four rows cost what one does"
    assert pace.stakes_beside.least < pace.stakes.least


def test_with_one_stage_and_no_links_a_step_of_guesses_wins_nothing():
    pace = pace_of(lambda _: 0.5, [1], stages=1)
    assert pace.stakes.win_s == 0 and pace.stakes.least == 1
    assert pace.expected_s(1) == 0.5
    assert Pace(1, 512).expected_s(1) == 0, "nothing is known in seconds yet"

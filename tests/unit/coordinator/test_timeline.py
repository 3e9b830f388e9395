"""Steps on one clock: clocks that disagree, links that are unequal, steps that wait."""

import pytest

from pi_cluster.coordinator.bench.timeline import Span, align, clock_offsets, lanes
from tests.support.steps import many_steps, step

FAR_APART = (1000.0, -77.5)


def test_without_steps_there_is_no_offset_and_no_timeline():
    assert clock_offsets([]) == [] and align([]) == []


def test_equal_links_give_the_clocks_exactly():
    steps = [step(1, 5.0, 0.25, FAR_APART, (1.0, 2.0))]
    assert clock_offsets(steps) == pytest.approx(FAR_APART)
    (aligned,) = align(steps)
    assert aligned.in_flight == Span(5.0, 8.75)
    assert [(s.began_s, s.ended_s) for s in aligned.stages] == [
        pytest.approx((5.25, 6.25)),
        pytest.approx((6.5, 8.5)),
    ]


def test_a_step_that_was_held_up_on_the_way_does_not_count():
    steps = [
        step(1, 5.0, 0.75, FAR_APART, (1.0, 2.0)),
        step(2, 6.0, 0.25, FAR_APART, (1.5, 0.5)),
        step(3, 7.0, 0.5, FAR_APART, (0.1, 0.1)),
    ]
    assert clock_offsets(steps) == pytest.approx(FAR_APART)


def test_a_step_that_waited_for_a_stage_tells_when_it_arrived():
    steps = [step(1, 5.0, 0.25, FAR_APART, (1.0, 2.0), queued_s=(3.0, 4.0))]
    assert clock_offsets(steps) == pytest.approx(FAR_APART)
    (aligned,) = align(steps)
    assert aligned.stages[0].began_s == pytest.approx(8.25)


def test_unequal_links_are_shared_evenly_and_nothing_arrives_before_it_left():
    # By clocks that agree: 0.1 s to the first stage, 0.7 s to the second, 0.1 s back.
    odd = step(1, 0.0, 0.1, (0.0, 0.6), (1.0, 1.0))
    offsets = clock_offsets([odd])
    assert offsets == pytest.approx([0.0, 0.6]), "nobody can tell a slow link from a fast clock"
    (aligned,) = align([odd])
    places = [0.0, *(t for s in aligned.stages for t in (s.began_s, s.ended_s)), odd.received_s]
    assert places == sorted(places)


def test_steps_of_one_stage_keep_their_distances():
    steps = many_steps(40)
    aligned = align(steps)
    for index in range(2):
        apart = [
            one.stages[index].began_s - one.record.result.stages[index].began_s for one in aligned
        ]
        assert max(apart) - min(apart) < 1e-9


def test_lanes_are_reused_and_hold_no_two_steps_at_once():
    spans = [Span(0, 2), Span(1, 3), Span(2, 4), Span(2.5, 5), Span(4, 6)]
    assert lanes(spans) == [0, 1, 0, 2, 0]
    assert lanes([]) == []

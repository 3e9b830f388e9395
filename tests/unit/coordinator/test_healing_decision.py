"""What is done about a lost pipeline, from what is seen of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pi_cluster.coordinator.healing.decision import (
    MOST_RETURN_S,
    RETURN_S,
    Alternative,
    Case,
    Remedy,
    StageSeen,
    missing,
    remedy,
    return_s,
)
from pi_cluster.coordinator.healing.losses import ASIDE_S, MOST_LOSSES, WITHIN_S, Losses

NOTHING_TO_MOVE = Alternative(0)


def stage(name, *, answers=True, is_loaded=True, has_moved=False, reaches_next=True):
    return StageSeen(name, name, answers, is_loaded, has_moved, reaches_next)


def gone(name):
    return StageSeen(name, name, answers=False)


def case(*stages, lost_s=0.0, **more):
    return Case(stages, lost_s, **more)


WELL = (stage("a"), stage("b"), stage("c"))


def test_where_all_is_well_it_is_asked_again():
    assert remedy(case(*WELL)) is Remedy.ASK_AGAIN


def test_sessions_that_are_lost_over_stages_that_seem_well_have_them_loaded_again():
    assert remedy(case(*WELL, lost_sessions=1)) is Remedy.ASK_AGAIN
    assert remedy(case(*WELL, lost_sessions=2)) is Remedy.LOAD_AGAIN
    assert remedy(case(*WELL, lost_sessions=9, may_load=False)) is Remedy.ASK_AGAIN


@pytest.mark.parametrize("how", [{"is_loaded": False}, {"has_moved": True}])
def test_a_node_that_came_back_otherwise_is_loaded_again_by_who_may(how):
    came_back = (stage("a"), stage("b", **how))
    assert remedy(case(*came_back)) is Remedy.LOAD_AGAIN
    assert remedy(case(*came_back, may_load=False)) is Remedy.WAIT


def test_a_lost_node_is_waited_for_about_as_long_as_going_on_without_it_takes():
    lost = (stage("a"), gone("b"))
    for size, wait_s in ((0, RETURN_S), (200_000_000, 20.0), (10**12, MOST_RETURN_S)):
        way = Alternative(size)
        assert return_s(way) == wait_s
        assert remedy(case(*lost, lost_s=wait_s - 0.1, alternative=way)) is Remedy.WAIT
        assert remedy(case(*lost, lost_s=wait_s, alternative=way)) is Remedy.PLAN_AGAIN
        assert remedy(case(*lost, lost_s=1e9, alternative=way, may_load=False)) is Remedy.WAIT


def test_where_the_others_have_no_room_it_is_waited_for():
    assert remedy(case(stage("a"), gone("b"), lost_s=1e9)) is Remedy.WAIT


def test_of_two_that_do_not_reach_each_other_the_second_is_done_without():
    cut = (stage("a", reaches_next=False), stage("b"), stage("c"))
    assert [one.name for one in missing(case(*cut))] == ["b"]
    assert remedy(case(*cut)) is Remedy.WAIT
    assert remedy(case(*cut, lost_s=9, alternative=NOTHING_TO_MOVE)) is Remedy.PLAN_AGAIN


def test_a_node_that_has_moved_is_told_to_the_one_before_it_which_cannot_reach_it_yet():
    moved = (stage("a", reaches_next=False), stage("b", has_moved=True), stage("c"))
    assert not missing(case(*moved))
    assert remedy(case(*moved, lost_s=9, alternative=NOTHING_TO_MOVE)) is Remedy.LOAD_AGAIN


def test_who_comes_and_goes_is_done_without_only_where_others_have_room():
    flapping = case(*WELL, lost_s=9, set_aside={"b"}, alternative=NOTHING_TO_MOVE)
    assert [one.name for one in missing(flapping)] == ["b"]
    assert remedy(flapping) is Remedy.PLAN_AGAIN
    assert remedy(case(*WELL, lost_s=9, set_aside={"b"})) is Remedy.ASK_AGAIN


@given(
    st.lists(
        st.builds(
            StageSeen,
            st.sampled_from("abcdef"),
            st.just("name"),
            *([st.booleans()] * 4),
        ),
        min_size=1,
        max_size=6,
        unique_by=lambda one: one.node_id,
    ),
    st.floats(0, 1e6),
    st.integers(0, 5),
    st.booleans(),
    st.sets(st.sampled_from("abcdef")),
    st.none() | st.builds(Alternative, st.integers(0, 10**12)),
)
def test_who_may_not_load_never_does_and_nothing_is_asked_of_who_does_not_answer(
    stages, lost_s, lost_sessions, may_load, set_aside, alternative
):
    seen = Case(stages, lost_s, lost_sessions, may_load, set_aside, alternative)
    todo = remedy(seen)
    if not may_load:
        assert todo in (Remedy.ASK_AGAIN, Remedy.WAIT)
    if todo in (Remedy.ASK_AGAIN, Remedy.LOAD_AGAIN):
        assert all(one.answers for one in stages)
    if todo is Remedy.PLAN_AGAIN:
        assert missing(seen) and alternative


def test_a_node_that_is_lost_again_and_again_is_set_aside_for_a_while():
    losses = Losses()
    told = [losses.note("a", now_s) for now_s in (0.0, 1.0, 2.0, 3.0)]
    assert told == [False, False, True, False]
    assert losses.set_aside(4.0) == {"a"} and not losses.is_set_aside("b", 4.0)
    assert losses.is_set_aside("a", 3.0 + ASIDE_S - 1) and not losses.is_set_aside(
        "a", 3.0 + ASIDE_S
    )


def test_a_loss_that_counts_for_many_sets_a_node_aside_at_once():
    losses = Losses()
    assert losses.note("a", 0.0, MOST_LOSSES) and losses.is_set_aside("a", ASIDE_S - 1)
    assert not losses.is_set_aside("a", ASIDE_S)


def test_losses_that_lie_far_apart_set_nobody_aside():
    losses = Losses()
    assert not any(losses.note("a", number * WITHIN_S) for number in range(2 * MOST_LOSSES))

"""Conversations of any order become ones that alternate, and lose no word."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from pi_cluster.server.asking.turns import alternating


def turn(role, content):
    return {"role": role, "content": content}


def test_equal_neighbours_are_one_turn_and_the_system_speaks_through_the_user():
    told = alternating(
        [turn("system", "a"), turn("user", "b"), turn("user", "c"), turn("assistant", "d")]
    )
    assert told == [turn("user", "a\n\nb\n\nc"), turn("assistant", "d")]
    assert alternating([turn("system", "a")]) == [turn("user", "a")]


def test_calls_and_results_stay_turns_of_their_own():
    call = {**turn("assistant", ""), "tool_calls": [{"id": "1"}]}
    result = {**turn("tool", "21"), "tool_call_id": "1"}
    said = [turn("user", "a"), call, result, result, turn("assistant", "b")]
    assert alternating(said) == said


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.lists(
        st.tuples(st.sampled_from(["system", "user", "assistant"]), st.integers(0, 99)),
        min_size=1,
        max_size=8,
    )
)
def test_no_word_is_lost_and_no_side_speaks_twice(said):
    told = alternating([turn(role, f"w{number}") for role, number in said])
    words = " ".join(one["content"] for one in told).split()
    assert sorted(words) == sorted(f"w{number}" for _, number in said)
    roles = [one["role"] for one in told]
    assert all(a != b for a, b in pairwise(roles))

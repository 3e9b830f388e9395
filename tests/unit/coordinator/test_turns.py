"""Askers take turns, each one's own requests stay in order, and nobody is passed for ever."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from pi_cluster.coordinator.scheduling.turns import Turns

ASKERS = "abcd"
events = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from(ASKERS)),
        st.tuples(st.just("let in"), st.none()),
        st.tuples(st.just("leave"), st.integers(0, 20)),
        st.tuples(st.just("give up"), st.integers(0, 20)),
    ),
    max_size=120,
)


def test_a_flood_is_passed_by_whoever_has_fewer_in():
    turns = Turns()
    for number in range(5):
        turns.add("flood", number)
    for number in range(2):
        assert turns.let_in("flood") == number
    turns.add("other", "x")
    turns.add("other", "y")
    turns.add("other", "z")
    assert list(turns.order()) == ["x", "y", 2, "z", 3, 4]


def test_without_askers_the_first_to_come_is_the_first_to_be_let_in():
    turns = Turns()
    for number in range(5):
        turns.add("", number)
    assert list(turns.order()) == list(range(5))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(events=events)
def test_whatever_comes_and_goes_each_is_let_in_by_the_order_that_was_told(events):
    turns, inside, waiting, passed = Turns(), [], [], Counter()
    for number, (event, which) in enumerate(events):
        if event == "add":
            waiting.append((which, number))
            turns.add(which, (which, number))
        elif event == "let in" and waiting:
            told, first = list(turns.order()), turns.first
            assert told[0] == first and sorted(told, key=waiting.index) == waiting
            asker = first[0]
            assert first == next(one for one in waiting if one[0] == asker), "in its own order"
            count = Counter(a for a, _ in inside)
            assert count[asker] == min(count[a] for a, _ in waiting)
            assert turns.let_in(asker) == first
            waiting.remove(first)
            inside.append(first)
            passed[asker] = 0
            for other in {a for a, _ in waiting} - {asker}:
                passed[other] += not count[other]
                assert passed[other] < len(ASKERS), "who has none in is passed once by each other"
        elif event == "leave" and inside:
            asker, _ = inside.pop(which % len(inside))
            turns.leave(asker)
            passed[asker] = 0  # it has been served just now
        elif event == "give up" and waiting:
            one = waiting.pop(which % len(waiting))
            assert turns.give_up(one[0], one) and not turns.give_up(one[0], one)
            passed[one[0]] = 0
        assert len(turns) == len(waiting)
    assert sorted(turns.clear()) == sorted(waiting) and not len(turns)

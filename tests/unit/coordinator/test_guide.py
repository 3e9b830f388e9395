"""A constraint beside guesses: each row has the set of the text before it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pi_cluster.cluster.errors import NodeError
from pi_cluster.coordinator.scheduling.guide import Guide
from pi_cluster.transformer.allowed import ids_in
from tests.support.automata import Automaton, OfAutomaton, Script

VOCAB, END = 40, 39


@settings(max_examples=150)
@given(seed=st.integers(0, 500), draw=st.randoms(use_true_random=False))
def test_every_row_has_the_set_of_the_text_before_it_whatever_was_guessed(seed, draw):
    automaton = Automaton(seed, VOCAB, [END])
    constraint = OfAutomaton(automaton)
    guide = Guide(constraint, VOCAB, {END})
    text, guesses = [], []
    for _ in range(25):
        for token in draw.choices(range(VOCAB), k=draw.randrange(4)):
            likely = automaton.choices([*text, *guesses])
            wanted = draw.choice(likely) if likely and draw.random() < 0.8 else token
            count = guide.follow([wanted])
            may = wanted != END and (likely is None or wanted in likely)
            assert count == may, "an id that may come is followed, and no other"
            guesses += [wanted] * count
        for start in range(len(guesses) + 1):
            allowed = guide.allowed(start, len(guesses) + 1 - start)
            for row in range(len(allowed)):
                choices = automaton.choices([*text, *guesses[: start + row]])
                got = ids_in(allowed[row], VOCAB).tolist() if allowed[row] else None
                assert got == choices
            assert allowed or all(
                automaton.choices([*text, *guesses[:at]]) is None
                for at in range(start, len(guesses) + 1)
            )
        assert constraint.answer == [*text, *guesses]
        choices = automaton.choices(text)
        token = draw.choice(choices or range(VOCAB))
        if guesses and draw.random() < 0.5:
            token = guesses[0]
        if token == END:
            break
        if guesses and token == guesses[0]:
            guide.accept_guess()
            del guesses[0]
        else:
            guide.accept(token)
            guesses.clear()
        text.append(token)


def test_an_id_that_was_not_allowed_is_a_fault_of_the_last_stage():
    guide = Guide(Script([4, 5]), VOCAB, {END})
    with pytest.raises(NodeError, match="the last stage answered with token 7"):
        guide.accept(7)


def test_a_guess_into_a_dead_end_is_not_followed_and_ends_nothing():
    script = Script([4, 5], is_dead_behind=True)
    guide = Guide(script, VOCAB, {END})
    assert guide.follow([4, 5, 6]) == 1
    assert guide.forced == [4, 5] and guide.forced_ahead == [5]


def test_nothing_is_guessed_beyond_the_end():
    guide = Guide(Script([4, 5]), VOCAB, set())
    assert guide.follow([4, 5, 6]) == 2
    assert guide.follow([6]) == 0
    guide.accept_guess()
    assert not guide.is_finished
    guide.accept_guess()
    assert guide.is_finished

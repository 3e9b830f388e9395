"""What a sequence sends next, and what becomes of its guesses."""

from pi_cluster.coordinator.scheduling.sequence import SequenceState


def test_only_rows_whose_successor_is_unknown_ask_for_logits():
    state = SequenceState(3, [10, 11, 12, 13, 14], candidates=40)
    first, last = state.take(3), state.take(2)
    assert (first.start, first.ids, first.logit_rows) == (0, [10, 11, 12], 0)
    assert (last.start, last.ids, last.logit_rows, last.candidates) == (3, [13, 14], 1, 40)
    assert state.unsent == 0


def test_guesses_follow_the_certain_ids_and_all_of_them_ask_for_logits():
    state = SequenceState(3, [10, 11], guesses=[12, 13, 14])
    chunk = state.take(3)
    assert (chunk.ids, chunk.logit_rows) == ([10, 11, 12], 2)
    assert (state.unsent, state.unsent_guesses) == (0, 2)
    assert state.take(2).ids == [13, 14]


def test_right_guesses_become_text_and_are_not_sent_again():
    state = SequenceState(3, [10, 11], guesses=[12, 13])
    state.take(4)
    assert state.accept(12) and state.accept(13)
    assert (state.text, state.guesses, state.unsent) == ([10, 11, 12, 13], [], 0)
    assert state.accept(14)
    assert state.take(1).start == 4


def test_a_wrong_guess_rolls_back_to_the_id_that_was_sampled():
    state = SequenceState(3, [10, 11], guesses=[12, 13, 14])
    state.take(5)
    assert state.accept(12)
    assert not state.accept(99)
    assert (state.text, state.guesses, state.sent) == ([10, 11, 12, 99], [], 3)
    chunk = state.take(1)
    assert (chunk.start, chunk.ids, chunk.logit_rows) == (3, [99], 1)
    assert state.most_sent == 5, "a stage may hold the wrong guesses until then"


def test_a_wrong_guess_that_was_never_sent_costs_nothing():
    state = SequenceState(3, [10, 11], guesses=[12, 13])
    state.take(2)
    assert not state.accept(50)
    assert (state.sent, state.most_sent, state.unsent) == (2, 2, 1)


def test_the_first_chunk_alone_says_whose_prefix_it_begins_with():
    state = SequenceState(3, list(range(10)), prefix_of=7, sent=6)
    assert (state.take(2).prefix_of, state.take(2).prefix_of) == (7, 0)

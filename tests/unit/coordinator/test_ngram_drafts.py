"""Guesses from the text itself."""

from pi_cluster.coordinator.drafting.ngram import NgramDrafter


def drafter(text):
    made = NgramDrafter()
    made.add(text)
    return made


def test_it_goes_on_as_the_text_did_after_the_latest_such_place():
    made = drafter([1, 2, 3, 4, 9, 9, 1, 2, 3, 5, 6, 7, 8, 1, 2, 3])
    assert made.guess([], 3) == [5, 6, 7]


def test_more_agreeing_ids_win_over_a_later_place():
    made = drafter([1, 2, 3, 50, 0, 2, 3, 60, 1, 2, 3])
    assert made.guess([], 1) == [50]


def test_it_goes_on_from_its_own_guesses_and_repeats_a_pattern():
    made = drafter([7, 8, 7, 8])
    first = made.guess([], 3)
    assert first == [7, 8, 7]
    assert made.guess(first, 2) == [8, 7]


def test_guesses_that_came_true_move_on_with_the_text():
    made = drafter([1, 2, 3, 4, 5, 6, 7, 0, 1, 2])
    guesses = made.guess([], 2)
    made.add([3])
    assert made.guess(guesses[1:], 2) == [5, 6]


def test_text_without_repetition_is_not_guessed():
    assert drafter(range(100)).guess([], 5) == []
    assert drafter([1]).guess([], 5) == []


def test_what_it_takes_for_the_next_id_is_its_first_guess_and_changes_none():
    made = drafter([1, 2, 3, 4, 9, 1, 2, 3])
    first = made.guess([], 2)
    assert made.next_id == first[0] == 4
    assert made.guess(first, 1) == [1]
    assert drafter(range(10)).next_id is None


def test_it_goes_on_behind_guesses_that_are_not_its_own():
    made = drafter([1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2])
    assert made.guess([], 1) == [3]
    assert made.guess([3, 7, 8], 2) == [9, 0]
    assert made.guess([3, 7, 8, 9, 0], 1) == [1]
    assert made.guess([3, 70, 80], 2) == []

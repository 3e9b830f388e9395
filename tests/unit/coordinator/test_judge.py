"""Who is asked for guesses, and how far ahead: by how often each was right, and how soon."""

import pytest

from pi_cluster.coordinator.drafting.judge import Drafting, Guess
from pi_cluster.coordinator.drafting.stakes import Stakes
from pi_cluster.transformer.sampling_settings import SamplingSettings

GREEDY = SamplingSettings(temperature=0)
STEP_S = 0.1
FOUR_STAGES = Stakes(win_s=0.3, cost_s=0.05, step_s=STEP_S)


class Says:
    """Guesses the same id for ever: as a source, and as the drafter of each text."""

    def __init__(self, name, token, seconds_each=0.0, has_some=True):
        self.name, self.token, self.seconds_each = name, token, seconds_each
        self.has_some, self.is_closed, self.ends = has_some, False, 0
        self.is_at_work = not has_some
        self.wanted = None

    def begin(self, text, sampling, on_guess):
        return self

    @property
    def next_id(self):
        return self.token if self.has_some else None

    def add(self, ids):
        pass

    def guess(self, guesses, count):
        self.wanted = count
        return [self.token] * count if self.has_some else []

    def close(self):
        self.ends += 1


def judge_of(*sources):
    return Drafting(sources, lambda: None).judge([1, 2], GREEDY)


def say(judge, *ids):
    for token in ids:
        judge.add(token, is_sampled=True)


def whose(guesses):
    return {guess.by for guess in guesses}


def test_whoever_was_right_more_often_is_asked_whatever_the_others_say():
    judge = judge_of(Says("seven", 7), Says("eight", 8))
    say(judge, *[7] * 9, 8)
    assert whose(judge.guess([], 4, FOUR_STAGES)) == {"seven"}
    say(judge, *[8] * 20)
    assert judge.guess([], 4, FOUR_STAGES) == [Guess(8, "eight")] * 4


def test_it_guesses_further_the_more_often_it_is_right_and_not_at_all_where_it_is_wrong():
    judge = judge_of(Says("seven", 7))
    begins = len(judge.guess([], 99, FOUR_STAGES))
    say(judge, *[7] * 30)
    further = len(judge.guess([], 99, FOUR_STAGES))
    assert further > begins > 0
    say(judge, *[8] * 60)
    assert all(not judge.guess([], 99, FOUR_STAGES) for _ in range(64))
    say(judge, *[7] * 30)
    assert len(judge.guess([], 99, FOUR_STAGES)) > begins, "it is held to guesses nobody asked for"


def test_guesses_already_made_are_a_part_of_how_far_it_goes():
    judge = judge_of(Says("seven", 7))
    depth = len(judge.guess([], 99, FOUR_STAGES))
    before = [Guess(7, "seven")] * 2
    assert len(judge.guess(before, 99, FOUR_STAGES)) == depth - 2
    assert judge.guess([Guess(7, "seven")] * depth, 99, FOUR_STAGES) == []
    by_grammar = [Guess(7, "grammar")] * 5
    assert len(judge.guess(by_grammar, 99, FOUR_STAGES)) == depth, "those are certain"


def test_a_guess_that_can_win_nothing_is_not_made():
    judge = judge_of(Says("seven", 7))
    say(judge, *[7] * 200)
    assert judge.guess([], 4, Stakes(win_s=0.0, cost_s=STEP_S / 2, step_s=STEP_S)) == []


def test_an_id_that_was_forced_is_nobodys_merit():
    judge = judge_of(Says("seven", 7))
    depth = len(judge.guess([], 99, FOUR_STAGES))
    for _ in range(50):
        judge.add(7, is_sampled=False)
    assert len(judge.guess([], 99, FOUR_STAGES)) == depth


def test_what_one_text_taught_the_next_one_begins_with():
    drafting = Drafting([Says("seven", 7)], lambda: None)
    say(drafting.judge([1], GREEDY), *[8] * 200)
    assert drafting.judge([1], GREEDY).guess([], 4, FOUR_STAGES) == []


def test_who_computes_a_better_guess_is_waited_for():
    better, worse = Says("better", 7, seconds_each=STEP_S / 2), Says("worse", 8)
    judge = judge_of(worse, better)
    say(judge, *[7] * 30)
    better.has_some, better.is_at_work = False, True
    assert judge.guess([], 4, FOUR_STAGES) == []
    assert better.wanted > 1 and worse.wanted == 0
    better.is_at_work = False
    assert judge.guess([], 4, FOUR_STAGES) == [], "the worse one is known to be wrong"


def test_who_takes_longer_than_a_step_is_worth_less():
    slow, quick = Says("slow", 7, seconds_each=4 * STEP_S), Says("quick", 8)
    judge = judge_of(slow, quick)
    say(judge, *[7, 8] * 20)
    assert whose(judge.guess([], 1, FOUR_STAGES)) == {"quick"}
    assert slow.wanted == 0, "it computes no guesses that nobody will send"


def test_who_is_given_up_tries_now_and_then():
    slow = Says("slow", 7, seconds_each=STEP_S)
    judge = judge_of(slow)
    say(judge, *[8] * 60)
    wanted = []
    for _ in range(64):
        say(judge, 8)
        assert judge.guess([], 4, FOUR_STAGES) == []
        wanted.append(slow.wanted)
    assert sum(wanted) == 4 and max(wanted) == 1


def test_the_end_of_a_text_and_of_all_is_told():
    source = Says("seven", 7)
    drafting = Drafting([source], lambda: None)
    drafting.judge([1], GREEDY).close()
    assert source.ends == 1
    drafting.close()
    assert source.ends == 2


@pytest.mark.parametrize(
    ("chance", "share", "depth"), [(1.0, 0.5, 2), (0.5, 0.5, 1), (1.0, 0.1, 0)]
)
def test_the_deepest_guess_is_still_worth_it(chance, share, depth):
    assert FOUR_STAGES.least == pytest.approx(1 / 7)
    assert FOUR_STAGES.depth(chance, share) == depth

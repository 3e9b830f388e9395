"""What goes into the next step: decisions without a pipeline."""

import pytest

from pi_cluster.coordinator.drafting.judge import Drafting
from pi_cluster.coordinator.drafting.ngram import Ngrams
from pi_cluster.coordinator.generation import Generation, GenerationOptions
from pi_cluster.coordinator.measurement import Measurement
from pi_cluster.coordinator.scheduling.batching import next_picks
from pi_cluster.coordinator.scheduling.pace import Pace
from pi_cluster.coordinator.scheduling.running import Running
from pi_cluster.coordinator.scheduling.sequence import SequenceState
from pi_cluster.coordinator.steps import StageTime, StepResult
from pi_cluster.transformer.sampling_settings import SamplingSettings


def drafting():
    return Drafting([Ngrams()], lambda: None)


def running(number, prompt, *, draft=False, guessed_by=None, **options):
    asked = GenerationOptions(SamplingSettings(temperature=0), 1000, draft=draft, **options)
    generation = Generation(prompt, asked, Measurement(()), lambda _: None)
    state = SequenceState(number, list(prompt), candidates=1)
    return Running(generation, state, drafting=guessed_by or drafting())


def decoding(number, prompt=(1,), **options):
    """A text whose last id was sampled and waits to be sent."""
    one = running(number, prompt, **options)
    one.take(len(prompt))
    one.accept(7)
    return one


def sure_of_itself(number, prompt):
    """A text whose guesses come true as far as anybody knows."""
    known = drafting()
    other = known.judge([5, 6] * 2, SamplingSettings(temperature=0))
    for token in [5, 6] * 100:
        other.add(token, is_sampled=True)
    return running(number, prompt, draft=True, guessed_by=known)


def paced(stages=4):
    """Steps up to four rows take as long as one, and from there on longer by the row."""
    pace = Pace(stages, 512)
    for rows in (*range(1, 9), 64):
        pace.add(rows, StepResult(1, (), (StageTime(max(4, rows), 0, 0),) * stages), 0)
    return pace


class Pipeline:
    """Steps in flight, as the scheduler would send them."""

    def __init__(self, texts, pace=None):
        self.texts, self.pace = texts, pace or paced()
        self.in_flight = {}
        self.steps = 0

    def fill(self):
        """Send until nothing more should be sent; the steps as ``{number: rows}``."""
        sent = []
        while picks := next_picks(self.texts, self.pace, len(self.in_flight)):
            self.steps += 1
            for pick in picks:
                pick.running.take(pick.rows)
                pick.running.state.in_flight.add(self.steps)
            self.in_flight[self.steps] = picks
            sent.append({pick.running.state.number: pick.rows for pick in picks})
        return sent

    def bring_back(self, token):
        """The oldest step has passed: each of its texts has another id."""
        step = min(self.in_flight)
        for pick in self.in_flight.pop(step):
            pick.running.state.in_flight.remove(step)
            if not pick.running.state.unsent:
                pick.running.accept(token)


@pytest.mark.parametrize(
    ("users", "groups"),
    [(1, [1]), (3, [1, 1, 1]), (5, [2, 1, 1, 1]), (8, [2, 2, 2, 2]), (16, [4, 4, 4, 4])],
)
def test_texts_are_dealt_out_evenly_over_as_many_steps_as_there_are_stages(users, groups):
    line = Pipeline([decoding(n) for n in range(users)])
    sent = line.fill()
    assert sorted((len(step) for step in sent), reverse=True) == groups
    assert sorted(n for step in sent for n in step) == list(range(users))
    for _ in range(5):
        line.bring_back(token=9)
        assert len(line.fill()) == 1, "what comes back goes on at once"


def test_a_text_that_joins_evens_out_the_groups():
    texts = [decoding(n) for n in range(5)]
    line = Pipeline(texts)
    line.fill()
    texts += [decoding(n) for n in (5, 6)]
    sizes = []
    for _ in range(12):
        line.bring_back(token=9)
        sizes += [len(step) for step in line.fill()]
    assert sorted(sizes[-4:]) == [1, 2, 2, 2]


def test_prompts_stream_chunk_after_chunk_without_waiting():
    text = running(1, range(1000), chunk_size=64)
    sent = Pipeline([text]).fill()
    assert sent == [{1: 64}] * 5, "a step for each stage, and one more that waits for the first"


def test_a_text_is_in_no_step_with_more_rows_of_prompts_than_it_allows():
    first = running(1, range(20), chunk_size=50)
    small = [running(number, range(90), chunk_size=30) for number in (2, 3)]
    assert Pipeline([first, *small]).fill()[0] == {1: 20, 2: 10}
    full = [running(4, range(40), chunk_size=50), running(5, range(90), chunk_size=30)]
    assert Pipeline(full).fill()[0] == {4: 40}


def test_what_decodes_goes_first_and_a_prompt_fills_up_the_step():
    line = Pipeline([running(1, range(1000)), decoding(2)])
    first, *others = line.fill()
    assert first[2] == 1 and first[1] >= 4
    assert all(2 not in step for step in others)
    assert line.pace.step_s(sum(first.values())) <= 3 * line.pace.step_s(1)


def test_prompts_take_turns():
    long, short = running(1, range(30_000)), running(2, range(100))
    line = Pipeline([long])
    line.fill()
    line.texts.append(short)
    for _ in range(12):
        line.bring_back(token=9)
        line.fill()
    assert short.is_decoding and not long.is_decoding


def test_guesses_fill_the_stages_that_would_idle_and_never_go_before_what_is_certain():
    texts = [sure_of_itself(n, [5, 6, 7, 8, 9] * 9 + [5, 6]) for n in range(16)]
    for text in texts:
        text.take(47)
        text.accept(7)
    assert Pipeline(texts[:1]).fill() == [{0: 4}] * 5
    line = Pipeline([*texts[1:], decoding(0)])
    assert [len(step) for step in line.fill()][:4] == [4, 4, 4, 4]


def test_text_that_does_not_repeat_is_sent_as_without_drafts():
    line = Pipeline([decoding(1, range(100), draft=True)])
    assert line.fill() == [{1: 1}]


def test_no_guess_goes_beyond_the_positions_that_are_reserved():
    text = sure_of_itself(1, [5, 6] * 30)
    text.state.most_positions = 63
    text.take(60)
    text.accept(5)
    assert sum(step[1] for step in Pipeline([text]).fill()) == 3


@pytest.mark.parametrize(("candidates", "guesses"), [(40, 3), (100_000, 0), (0, 0)])
def test_nothing_is_guessed_where_most_logits_of_each_guess_would_have_to_travel(
    candidates, guesses
):
    options = GenerationOptions(SamplingSettings(top_k=candidates), 1000)
    generation = Generation([5, 6] * 30, options, Measurement(()), lambda _: None)
    state = SequenceState(1, [5, 6] * 30, candidates=candidates)
    text = Running(generation, state, drafting=drafting())
    text.take(60)
    text.accept(5)
    assert text.pick_certain(3, paced().stakes_beside).rows == 1 + guesses


def test_no_more_is_guessed_than_the_caches_can_take_back():
    text = sure_of_itself(1, [5, 6] * 30)
    text.state.most_guesses = 3
    text.take(60)
    text.accept(5)
    assert sum(step[1] for step in Pipeline([text]).fill()) == 1 + 3

"""Guesses of a small model beside the pipeline: what it reads, how it goes back, how it ends."""

import random
import threading
from contextlib import contextmanager

import numpy as np
import pytest

from pi_cluster.coordinator.drafting.draft_model import DraftModel
from pi_cluster.transformer.sampling import sample, top_candidates
from pi_cluster.transformer.sampling_settings import SamplingSettings
from tests.support.cluster_process import eventually
from tests.support.draft_engines import NEVER, FunctionEngine

GREEDY = SamplingSettings(temperature=0)
VOCAB = 1000


def counting(text):
    """It counts on."""
    return text[-1] + 1


def nothing():
    pass


@contextmanager
def model_of(*args, says=counting, **keywords):
    engine = FunctionEngine(says, VOCAB, *args, **keywords)
    model = DraftModel(engine)
    try:
        yield model, engine
    finally:
        engine.is_going_on.set()
        model.close()


def guessed(drafter, guesses, count):
    """All that is wanted, once it is there."""
    return eventually(lambda: drafter.guess(guesses, count), lambda found: len(found) == count)


def test_it_reads_the_prompt_in_chunks_and_goes_on_from_its_own_guesses():
    with model_of() as (model, engine):
        drafter = model.begin(list(range(200)), GREEDY, nothing)
        assert guessed(drafter, [], 3) == [200, 201, 202]
        assert drafter.next_id == 200
        assert guessed(drafter, [200, 201, 202], 2) == [203, 204]
        assert engine.rows == 200 + 4, "nothing is read twice"
        assert engine.computed == 4 + 4


def test_whoever_waits_for_a_guess_is_told():
    told = threading.Event()
    with model_of() as (model, _):
        drafter = model.begin([1, 2], GREEDY, told.set)
        assert told.wait(10)
        assert drafter.guess([], 1) == [3]


def test_it_guesses_no_further_than_is_wanted():
    with model_of() as (model, engine):
        drafter = model.begin([1, 2, 3], GREEDY, nothing)
        assert guessed(drafter, [], 2) == [4, 5]
        other = model.begin([7], GREEDY, nothing)
        assert guessed(other, [], 1) == [8], "its turn has come, so nothing else was to be done"
        assert engine.held[1] == [1, 2, 3, 4]
        assert drafter.guess([], 0) == [] and not drafter.is_at_work


def test_guesses_that_come_true_are_not_computed_again():
    with model_of() as (model, engine):
        drafter = model.begin([1, 2, 3], GREEDY, nothing)
        guessed(drafter, [], 3)
        drafter.add([4])
        assert drafter.guess([], 2) == [5, 6]
        assert guessed(drafter, [], 3) == [5, 6, 7]
        assert engine.rows == 6


def test_where_the_text_turns_out_otherwise_it_goes_back_and_on_from_there():
    with model_of() as (model, engine):
        drafter = model.begin([1, 2, 3], GREEDY, nothing)
        guessed(drafter, [], 3)
        drafter.add([50])
        assert drafter.next_id in (None, 51)
        assert guessed(drafter, [], 2) == [51, 52]
        assert engine.rows <= 3 + 2 + 3, "what agrees is not read again"


def test_it_follows_what_others_have_guessed_and_is_not_held_to_that():
    with model_of() as (model, _):
        drafter = model.begin([1, 2, 3], GREEDY, nothing)
        guessed(drafter, [], 2)
        assert guessed(drafter, [80, 81], 2) == [82, 83]
        assert drafter.next_id is None
        drafter.add([80, 81])
        assert drafter.next_id == 82
        assert drafter.guess([], 2) == [82, 83]


def test_what_its_caches_have_overwritten_it_reads_anew():
    with model_of(goes_back=2) as (model, engine):
        drafter = model.begin([1, 2, 3], GREEDY, nothing)
        guessed(drafter, [], 6)
        drafter.add([50])
        assert guessed(drafter, [], 2) == [51, 52]
        assert engine.held[1] == [1, 2, 3, 50, 51]


def test_no_guess_goes_beyond_its_context():
    with model_of(most_positions=5) as (model, engine):
        drafter = model.begin([1, 2, 3], GREEDY, nothing)
        assert guessed(drafter, [], 3) == [4, 5, 6]
        assert drafter.guess([], 9) == [4, 5, 6]
        drafter.add([4, 5, 6, 7])
        assert drafter.guess([], 9) == []
        other = model.begin([7], GREEDY, nothing)
        assert guessed(other, [], 1) == [8], "it goes on with others"
        assert len(engine.held[1]) == 5


def test_texts_take_turns_and_more_than_it_has_caches_for_wait_for_a_place():
    with model_of(2) as (model, engine):
        drafters = [model.begin([100 * n], GREEDY, nothing) for n in range(4)]
        for n in range(2):
            assert guessed(drafters[n], [], 4) == [100 * n + k for k in range(1, 5)]
        assert drafters[2].guess([], 4) == [] and set(engine.held) <= {1, 2}
        drafters[0].close()
        assert guessed(drafters[2], [], 4) == [201, 202, 203, 204]
        assert set(engine.held) == {2, 3}
        for drafter in drafters:
            drafter.close()
        eventually(lambda: engine.held, lambda held: not held)


def test_a_sampled_text_is_guessed_by_the_draw_of_its_own_position():
    settings = SamplingSettings(temperature=1.5, top_k=20, seed=7)
    draw = random.Random(3)
    logits = {at: [draw.random() * 4 for _ in range(VOCAB)] for at in range(12)}
    with model_of() as (model, engine):
        engine.compute = lambda _, start, ids: np.array(logits[start + len(ids) - 1], np.float32)
        drafter = model.begin([1, 2, 3], settings, nothing)
        found = guessed(drafter, [], 6)
    for position, token in enumerate(found, 3):
        best = top_candidates(np.array(logits[position - 1], np.float32), 0)
        assert token == sample(best, settings, position, [])
    assert len(set(found)) > 1


@pytest.mark.parametrize("what", ["fails", "is confused", "has a fault"])
def test_when_it_fails_there_are_no_more_guesses_and_one_warning(what, caplog):
    says = counting if what != "has a fault" else lambda text: 1 // (7 - len(text))
    with model_of(says=says, fails_at=5 if what == "fails" else NEVER) as (model, engine):
        if what == "is confused":
            engine.compute = lambda *_: np.full(VOCAB, np.nan, np.float32)
        drafter = model.begin([1, 2, 3], GREEDY, nothing)
        drafter.guess([], 20)
        eventually(lambda: model.is_over, bool)
        assert not drafter.is_at_work
        drafter.add([500])
        assert drafter.guess([], 4) == [] and drafter.next_id is None
        assert model.begin([1], GREEDY, nothing).guess([], 2) == []
    assert len([r for r in caplog.records if "draft model" in r.message]) == 1


def test_its_end_frees_what_it_holds_and_its_thread():
    with model_of() as (model, engine):
        drafters = [model.begin([n, n], GREEDY, nothing) for n in range(3)]
        for drafter in drafters:
            guessed(drafter, [], 2)
        drafters[0].close()
        model.close()
        assert not engine.held
        assert "drafts" not in [thread.name for thread in threading.enumerate()]


def test_at_random_whatever_happens_each_guess_is_what_the_model_says_there():
    def says(text):
        return (text[-1] * 31 + len(text)) % VOCAB

    draw = random.Random(5)
    with model_of(3, says=says, goes_back=8) as (model, engine):
        texts = {}
        for turn in range(400):
            number = draw.randrange(4)
            if number not in texts:
                text = [draw.randrange(VOCAB) for _ in range(draw.randrange(1, 90))]
                texts[number] = (text, model.begin(text, GREEDY, nothing))
                continue
            text, drafter = texts[number]
            guesses = [draw.randrange(VOCAB) for _ in range(draw.choice([0, 0, 1, 3]))]
            line = [*text, *guesses]
            for found in drafter.guess(guesses, draw.randrange(6)):
                assert found == says(line), turn
                line.append(found)
            if draw.random() < 0.1:
                drafter.close()
                del texts[number]
                continue
            ids = [says(text)] if draw.random() < 0.7 else [draw.randrange(VOCAB)]
            drafter.add(ids)
            text += ids
            if draw.random() < 0.5:
                eventually(lambda one=drafter: one.is_at_work, lambda is_at_work: not is_at_work)
    assert not engine.held


def test_nobody_waits_for_a_model_that_does_not_come_back_nor_for_one_nobody_knows():
    with model_of() as (model, engine):
        engine.is_going_on.clear()
        drafter = model.begin([1, 2, 3], GREEDY, nothing)
        assert not drafter.is_at_work
        engine.is_going_on.set()
        guessed(drafter, [], 4)
        engine.is_going_on.clear()
        assert drafter.guess([], 9) == [4, 5, 6, 7]
        eventually(lambda: drafter.is_at_work, lambda is_at_work: not is_at_work)
        engine.is_going_on.set()
        assert len(guessed(drafter, [], 9)) == 9

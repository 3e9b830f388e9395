"""Texts through real stages, guessed by all kinds of drafters: the ids are those without any."""

from itertools import chain

import pytest

from pi_cluster.coordinator.drafting.draft_model import DraftModel
from pi_cluster.coordinator.drafting.ngram import Ngrams
from pi_cluster.coordinator.drafting.recycled import RecycledIds
from pi_cluster.coordinator.drafting.usual import usual_drafters
from pi_cluster.coordinator.generation import GenerationOptions
from pi_cluster.coordinator.scheduling.cache_limits import CacheLimits
from pi_cluster.coordinator.served_model import ServedModel
from pi_cluster.transformer.cache import CacheRoom
from pi_cluster.transformer.limits import Limits
from pi_cluster.transformer.sampling_settings import SamplingSettings
from tests.support.automata import Automaton, OfAutomaton
from tests.support.cluster_process import eventually
from tests.support.draft_engines import FunctionEngine, StageEngine
from tests.support.serving import GREEDY, Line, prompt_of, whole_model
from tests.support.worker_servers import pipeline

SEEDED = SamplingSettings(temperature=0.9, seed=11)
VOCAB = 130
MODEL = ServedModel(VOCAB, 1, frozenset(), None)
LIMITS = CacheLimits(20, 20 * 128, 128, (CacheRoom(32, 128),), 64)
OF_STAGES = Limits(64, LIMITS.max_sequences, 1024, LIMITS.cache_positions)
PROMPTS = [prompt_of(3, 90), prompt_of(4, 40)]
COUNT = 100


@pytest.fixture(scope="module")
def line(random_store, tmp_path_factory):
    """Three stages whose caches wrap after 128 positions."""
    folder = tmp_path_factory.mktemp("stages")
    with pipeline(random_store, [0, 2, 4, 6], folder, OF_STAGES) as stages:
        yield Line(stages, MODEL, LIMITS, whole_model(random_store, OF_STAGES))


def knowing(line, sampling, shift=0):
    """Says what the model says in these texts, or an id ``shift`` beside it."""
    texts = [[*prompt, *line.alone(prompt, sampling, COUNT + 70)] for prompt in PROMPTS]

    def says(text):
        for known in texts:
            if known[: len(text)] == text and len(text) < len(known):
                return known[len(text)] + shift
        return 0

    return says


DRAFTERS = {
    "right": lambda line, s: [DraftModel(FunctionEngine(knowing(line, s), VOCAB))],
    "wrong": lambda line, s: [DraftModel(FunctionEngine(knowing(line, s, 1), VOCAB))],
    "one place": lambda line, s: [DraftModel(FunctionEngine(knowing(line, s), VOCAB, 1))],
    "dies": lambda line, s: [DraftModel(FunctionEngine(knowing(line, s), VOCAB, fails_at=30))],
    "itself": lambda line, s: [DraftModel(StageEngine(line.whole, LIMITS, None))],
    "recycled": lambda line, s: [RecycledIds(order) for order in (1, 2)],
    "n-gram": lambda line, s: [Ngrams()],
}
DRAFTERS["all, right"] = lambda line, s: [*usual_drafters(), *DRAFTERS["right"](line, s)]
DRAFTERS["all, wrong"] = lambda line, s: [*DRAFTERS["wrong"](line, s), *usual_drafters()]
DRAFTERS["none"] = lambda line, s: []


@pytest.mark.parametrize("sampling", [GREEDY, SEEDED], ids=["greedy", "seeded"])
@pytest.mark.parametrize("kind", DRAFTERS)
def test_texts_are_the_same_whoever_guesses_them(line, kind, sampling):
    expected = [line.alone(prompt, sampling, COUNT) for prompt in PROMPTS]
    with line.served(drafters=DRAFTERS[kind](line, sampling)) as scheduler:
        asked = [scheduler.submit(p, GenerationOptions(sampling, COUNT)) for p in PROMPTS]
        together = [list(generation) for generation in asked]
        again = list(scheduler.submit(PROMPTS[0], GenerationOptions(sampling, COUNT)))
    assert [*together, again] == [*expected, expected[0]]


def test_guesses_of_a_model_are_sent_while_the_text_waits_and_counted_as_its_own(line):
    model = DraftModel(FunctionEngine(knowing(line, GREEDY), VOCAB))
    steps = []
    with line.served(drafters=[model], on_step=steps.append) as scheduler:
        generation = scheduler.submit(PROMPTS[0], GenerationOptions(GREEDY, COUNT))
        assert list(generation) == line.alone(PROMPTS[0], GREEDY, COUNT)
    right, wrong = generation.measurement.right_by, generation.measurement.wrong_by
    assert right["model"] > 0 and not wrong and set(right) == {"model"}
    assert scheduler.counters.right_by == right
    assert any(step.guessed_rows for step in steps)


def test_with_drafts_off_nobody_computes_a_guess(line):
    engine = FunctionEngine(knowing(line, GREEDY), VOCAB)
    with line.served(drafters=[DraftModel(engine)]) as scheduler:
        list(scheduler.submit(PROMPTS[0], GenerationOptions(GREEDY, 20, draft=False)))
    assert engine.computed == 0


def test_a_text_that_is_given_up_leaves_its_place_in_the_model(line):
    engine = FunctionEngine(knowing(line, GREEDY), VOCAB, 1)
    with line.served(drafters=[DraftModel(engine)]) as scheduler:
        given_up = iter(scheduler.submit(PROMPTS[0], GenerationOptions(GREEDY, 5000)))
        next(given_up)
        given_up.close()
        got = list(scheduler.submit(PROMPTS[1], GenerationOptions(GREEDY, COUNT)))
        eventually(lambda: engine.held, lambda held: not held)
    assert got == line.alone(PROMPTS[1], GREEDY, COUNT)


def test_a_model_that_takes_for_ever_holds_no_text_up(line):
    engine = FunctionEngine(knowing(line, GREEDY), VOCAB)
    engine.is_going_on.clear()
    try:
        with line.served(drafters=[*usual_drafters(), DraftModel(engine)]) as scheduler:
            got = list(scheduler.submit(PROMPTS[0], GenerationOptions(GREEDY, COUNT)))
            engine.is_going_on.set()
    finally:
        engine.is_going_on.set()
    assert got == line.alone(PROMPTS[0], GREEDY, COUNT)


@pytest.mark.parametrize("kind", ["itself", "all, right", "wrong"])
@pytest.mark.parametrize("sampling", [GREEDY, SEEDED], ids=["greedy", "seeded"])
@pytest.mark.parametrize("seed", [1, 2])
def test_texts_that_keep_to_a_grammar_are_the_same_too(line, kind, sampling, seed):
    automaton = Automaton(seed, VOCAB)

    def said(drafters, *, draft):
        options = GenerationOptions(sampling, COUNT, draft=draft)
        with line.served(drafters=drafters) as scheduler:
            asked = [
                scheduler.submit(p, options, constraint=OfAutomaton(automaton)) for p in PROMPTS
            ]
            return [list(generation) for generation in asked]

    got = said(DRAFTERS[kind](line, sampling), draft=True)
    assert got == said([], draft=False)
    assert len(set(chain(*got))) > 5

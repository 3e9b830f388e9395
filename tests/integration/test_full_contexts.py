"""Texts that reach the end of a context, go round a tight rolling buffer, and crowd the caches.

Guesses are right there more often than elsewhere, so chunks go as far as they may: and no further.
"""

import random
from dataclasses import replace

import pytest

from pi_cluster.cluster.store.store import Store
from pi_cluster.coordinator.drafting.draft_model import DraftModel
from pi_cluster.coordinator.drafting.usual import usual_drafters
from pi_cluster.coordinator.finish_reason import FinishReason
from pi_cluster.coordinator.generation import GenerationOptions
from pi_cluster.coordinator.scheduling.cache_limits import CacheLimits
from pi_cluster.coordinator.scheduling.scheduler import SchedulerSettings
from pi_cluster.coordinator.scheduling.sequence import SequenceState
from pi_cluster.coordinator.served_model import ServedModel
from pi_cluster.transformer.errors import PromptError, StepError
from pi_cluster.transformer.limits import Limits
from pi_cluster.transformer.sampling_settings import SamplingSettings
from tests.support.checkpoints import random_weights, small_config, write_hugging_face_checkpoint
from tests.support.draft_engines import StageEngine
from tests.support.serving import GREEDY, Asked, Line, answer, prompt_of, traffic, whole_model
from tests.support.stores import shard
from tests.support.worker_servers import pipeline

SEEDED = SamplingSettings(temperature=0.9, seed=11)
CONTEXT, WINDOW = 96, 48
LOOP = [5, 6, 7]


def looping_weights(config):
    """A model that says 5 6 7 5 6 7 ... whatever stood before; all else it continues at random."""
    weights = random_weights(config)
    for name in weights:
        if name.endswith(("attention.wo.weight", "feed_forward.w2.weight")):
            weights[name][:] = 0
    head = weights["output.weight"]
    rows = weights["tok_embeddings.weight"]
    rows[:] = 0
    head[:] = 0
    rows[range(config.dim), range(config.dim)] = 1
    draw = random.Random(3)
    after = {token: draw.randrange(config.dim) for token in range(config.dim)}
    after |= {1: 5, 5: 6, 6: 7, 7: 5}
    for token, following in after.items():
        head[following, token] = 8
    return weights


@pytest.fixture(scope="module")
def line_of(tmp_path_factory):
    """Makes a line of three stages for a model and its limits."""
    with_opened = []

    def make(name, config, limits, weights=None):
        folder = tmp_path_factory.mktemp(name)
        write_hugging_face_checkpoint(folder / "checkpoint", config, weights=weights)
        shard(folder / "checkpoint", folder / "store", "f32")
        store = Store(folder / "store")
        served = pipeline(store, [0, 1, 2, 3], folder, limits)
        with_opened.append(served)
        context = None if config.widest_window else limits.context
        model = ServedModel(config.vocab_size, 1, frozenset(), context)
        whole = whole_model(store, limits)
        return Line(served.__enter__(), model, CacheLimits.of(config, limits), whole)

    yield make
    for served in with_opened:
        served.__exit__(None, None, None)


@pytest.fixture(scope="module")
def looping(line_of):
    """A model that goes round for ever, in a context that ends."""
    config = small_config(window=None)
    limits = Limits(32, 12, CONTEXT, 5 * 128)
    return line_of("looping", config, limits, looping_weights(config))


@pytest.fixture(scope="module")
def bounded(line_of):
    """Random weights in a context that ends; the caches have room for five texts."""
    return line_of("bounded", small_config(window=None), Limits(32, 12, CONTEXT, 5 * 128))


@pytest.fixture(scope="module")
def wrapping(line_of):
    """Random weights and a window whose rolling buffer has 16 spare positions."""
    return line_of("wrapping", small_config(window=WINDOW), Limits(16, 12, 1024, 5 * 64))


@pytest.fixture(scope="module")
def whirling(line_of):
    """A model that goes round for ever in a rolling buffer with 16 spare positions."""
    config = small_config(window=WINDOW)
    return line_of("whirling", config, Limits(16, 12, 1024, 5 * 64), looping_weights(config))


@pytest.fixture(params=["looping", "bounded", "wrapping", "whirling"])
def line(request):
    """Each of the lines above."""
    return request.getfixturevalue(request.param)


def looped(count):
    return (LOOP * count)[:count]


@pytest.mark.parametrize("draft", [True, False], ids=["drafts", "no drafts"])
@pytest.mark.parametrize("asked", [CONTEXT - 8, CONTEXT - 7, CONTEXT - 6, 1000])
def test_a_text_that_repeats_itself_ends_exactly_at_the_context(looping, draft, asked):
    prompt = [1, *LOOP, *LOOP]
    with looping.served() as scheduler:
        options = GenerationOptions(GREEDY, asked, draft=draft)
        generation = scheduler.submit(prompt, options)
        got = list(generation)
    count = min(asked, CONTEXT - len(prompt))
    reason = FinishReason.LENGTH if asked == count else FinishReason.CONTEXT
    assert (got, generation.finish_reason) == (looped(count), reason)


def test_guesses_that_come_true_are_what_takes_a_text_to_the_context(looping):
    steps = []
    with looping.served(on_step=steps.append) as scheduler:
        answer(scheduler, [1, *LOOP, *LOOP], count=1000)
    assert sum(step.guessed_rows for step in steps) > 30


def test_a_user_at_the_context_harms_neither_another_nor_one_who_comes_later(looping):
    with looping.served() as scheduler:
        other = iter(scheduler.submit([1], GenerationOptions(GREEDY, 60, draft=False)))
        got = [next(other)]
        full = answer(scheduler, [1, *LOOP, *LOOP], count=1000)
        got += other
        later = answer(scheduler, [1, *LOOP], count=20)
    assert (full, got, later) == (looped(CONTEXT - 7), looped(60), looped(20))


@pytest.mark.parametrize("count", [30, 300])
def test_a_text_that_goes_round_a_tight_buffer_is_the_same_with_guesses(wrapping, whirling, count):
    for line, prompt in ((whirling, [1, *LOOP, *LOOP]), (wrapping, prompt_of(4, 70))):
        with line.served() as scheduler:
            assert answer(scheduler, prompt, GREEDY, count) == line.alone(prompt, GREEDY, count)


@pytest.mark.parametrize("seed", range(5))
def test_random_traffic_in_crowded_caches_gives_each_the_text_it_gets_alone(line, seed):
    """Requests fill the context, share beginnings, go on with each other, and are cancelled at any
    moment, also before anything has come back.
    """
    context = line.model.context or 1 << 30
    texts = [[1, *LOOP * 4], *(prompt_of(n, 15 + 20 * n, 64) for n in range(4))]

    def next_request(draw):
        base = draw.choice(texts)
        prompt = base[: draw.randrange(1, len(base) + 1)]
        prompt += [draw.randrange(64) for _ in range(draw.choice([0, 1, 8]))]
        sampling = draw.choice([GREEDY, GREEDY, replace(SEEDED, seed=draw.randrange(3))])
        chunk_size, draft = draw.choice([None, None, 1, 5, 40]), draw.random() < 0.8
        count, enough = draw.choice([1, 10, 60, 150]), draw.choice([0, 1, 30, 1000, 1000])
        options = GenerationOptions(sampling, count, chunk_size, draft=draft)
        return Asked(prompt[: min(200, context - 1)], options, enough)

    with line.served(SchedulerSettings(reuse_prefixes=seed != 0)) as scheduler:
        answers = traffic(scheduler, next_request, texts.append, seed=seed, requests=6)
    for asked, given in answers:
        if given.ids:
            assert given.ids == line.alone(asked.prompt, asked.options.sampling, len(given.ids))
        if asked.enough == 1000:
            whole = min(asked.options.max_tokens, context - len(asked.prompt))
            assert len(given.ids) == whole


def test_a_request_that_breaks_a_stages_rule_ends_alone_and_before_it_is_sent(looping, monkeypatch):
    monkeypatch.setattr(SequenceState, "guess_room", property(lambda _: 1000))
    with looping.served() as scheduler:
        other = iter(scheduler.submit([1], GenerationOptions(GREEDY, 60, draft=False)))
        got = [next(other)]
        with pytest.raises(StepError, match="are reserved for it"):
            answer(scheduler, [1, *LOOP, *LOOP], count=1000)
        got += other
        later = answer(scheduler, [1, *LOOP], count=20, draft=False)
        assert scheduler.failure is None
    assert (got, later) == (looped(60), looped(20))


def test_a_text_for_which_the_caches_are_too_small_is_refused_and_holds_up_nobody(looping):
    limits = replace(looping.limits, cache_positions=64)
    with looping.served(limits=limits) as scheduler:
        with pytest.raises(PromptError, match="128 positions and the caches have 64"):
            scheduler.submit([1], GenerationOptions(GREEDY, 65))
        assert answer(scheduler, [1], count=20) == looped(20)


@pytest.mark.parametrize("sampling", [GREEDY, SEEDED], ids=["greedy", "seeded"])
def test_a_draft_model_reaches_the_bounds_of_a_text_too_and_changes_none(line, sampling):
    prompts = [prompt_of(5, 20), prompt_of(6, 50)]
    context = line.model.context
    counts = [min(150, (context or 1000) - len(prompt)) for prompt in prompts]
    expected = [line.alone(p, sampling, n) for p, n in zip(prompts, counts, strict=True)]
    model = DraftModel(StageEngine(line.whole, line.limits, context))
    with line.served(drafters=[*usual_drafters(), model]) as scheduler:
        asked = [scheduler.submit(p, GenerationOptions(sampling, 150)) for p in prompts]
        assert [list(generation) for generation in asked] == expected
    assert line.whole.sequences == 0, "what it held is freed"

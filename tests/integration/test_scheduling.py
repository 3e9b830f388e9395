"""Many texts at once through real stages: each is what it would be alone, whatever happens."""

from dataclasses import replace

import pytest

from pi_cluster.cluster.errors import QueueFull, StaleEpoch
from pi_cluster.cluster.wire.client import NodeClient
from pi_cluster.coordinator.finish_reason import FinishReason
from pi_cluster.coordinator.generation import GenerationOptions
from pi_cluster.coordinator.scheduling.cache_limits import CacheLimits
from pi_cluster.coordinator.scheduling.scheduler import SchedulerSettings
from pi_cluster.coordinator.served_model import ServedModel
from pi_cluster.coordinator.standing import Waiting
from pi_cluster.transformer.cache import CacheRoom
from pi_cluster.transformer.limits import Limits
from pi_cluster.transformer.sampling_settings import SamplingSettings
from tests.support.cluster_process import eventually
from tests.support.serving import GREEDY, Asked, Line, answer, prompt_of, traffic, whole_model
from tests.support.worker_servers import EPOCH, PLAIN, pipeline

SEEDED = SamplingSettings(temperature=0.9, seed=11)
PENALISED = SamplingSettings(temperature=0.9, seed=5, repeat_penalty=1.3)
VOCAB = 130
MODEL = ServedModel(VOCAB, 1, frozenset(), None)
WINDOW, STEP_ROWS = 32, 64
LIMITS = CacheLimits(20, 20 * 128, 128, (CacheRoom(WINDOW, 128),), STEP_ROWS)
OF_STAGES = Limits(STEP_ROWS, LIMITS.max_sequences, 1024, LIMITS.cache_positions)


@pytest.fixture(scope="module")
def line(random_store, tmp_path_factory):
    """Three stages whose caches wrap after 128 positions."""
    folder = tmp_path_factory.mktemp("stages")
    with pipeline(random_store, [0, 2, 4, 6], folder, OF_STAGES) as stages:
        yield Line(stages, MODEL, LIMITS, whole_model(random_store, OF_STAGES))


@pytest.mark.parametrize("draft", [True, False], ids=["drafts", "no drafts"])
@pytest.mark.parametrize("sampling", [GREEDY, SEEDED, PENALISED], ids=["greedy", "seeded", "all"])
@pytest.mark.parametrize("chunk_size", [None, 1, 7, 64])
def test_one_text_is_the_same_with_every_setting(line, draft, sampling, chunk_size):
    prompt = prompt_of(3, 90)
    with line.served() as scheduler:
        got = answer(scheduler, prompt, sampling, 80, draft=draft, chunk_size=chunk_size)
    assert got == line.alone(prompt, sampling, 80)


def test_guesses_come_true_are_wrong_and_roll_back_after_the_cache_has_wrapped(line):
    prompt = prompt_of(4, 200)
    with line.served() as scheduler:
        generation = scheduler.submit(prompt, GenerationOptions(GREEDY, 200))
        got = list(generation)
    assert got == line.alone(prompt, GREEDY, 200)
    guessed = generation.measurement
    assert guessed.right_guesses > 20
    assert guessed.wrong_guesses > 0


@pytest.mark.parametrize("users", [1, 2, 3, 5, 16])
def test_users_at_once_each_get_their_own_text(line, users):
    asked = [
        (prompt_of(n, 5 + 13 * n % 150), [GREEDY, SEEDED][n % 2], 10 + n % 7 * 9)
        for n in range(users)
    ]
    with line.served() as scheduler:
        generations = [scheduler.submit(p, GenerationOptions(s, c)) for p, s, c in asked]
        got = [list(generation) for generation in generations]
    assert got == [line.alone(*one) for one in asked]
    assert {g.finish_reason for g in generations} == {FinishReason.LENGTH}


@pytest.mark.parametrize("seed", range(6))
def test_random_traffic_gives_each_the_text_it_gets_alone(line, seed):
    """Requests come, share beginnings, go on with each other, and are cancelled at any moment."""
    settings = SchedulerSettings(reuse_prefixes=seed % 3 != 0)
    texts = [prompt_of(n, 20 + 35 * n) for n in range(4)]

    def next_request(draw):
        base = draw.choice(texts)
        prompt = base[: draw.randrange(1, len(base) + 1)]
        prompt += [draw.randrange(VOCAB) for _ in range(draw.randrange(20))]
        sampling = draw.choice([GREEDY, replace(SEEDED, seed=draw.randrange(3))])
        chunk_size, draft = draw.choice([None, None, 1, 5, 40]), draw.random() < 0.8
        options = GenerationOptions(sampling, draw.randrange(1, 50), chunk_size, draft=draft)
        return Asked(prompt, options, enough=draw.randrange(1, 70))

    with line.served(settings) as scheduler:
        answers = traffic(scheduler, next_request, texts.append, seed=seed, requests=4)
    for asked, given in answers:
        assert given.ids == line.alone(asked.prompt, asked.options.sampling, len(given.ids))


def prompt_rows(steps):
    return sum(step.prompt_rows for step in steps)


def test_the_next_turn_computes_only_what_is_new(line):
    steps = []
    prompt, more = prompt_of(7, 60), prompt_of(8, 25)
    with line.served(on_step=steps.append) as scheduler:
        ids = answer(scheduler, prompt, SEEDED, 20)
        steps.clear()
        again = answer(scheduler, [*prompt, *ids, *more], SEEDED, 20)
    assert prompt_rows(steps) == 1 + len(more), "the last id sampled was never sent"
    assert again == line.alone([*prompt, *ids, *more], SEEDED, 20)


def test_users_with_the_same_beginning_share_it_while_all_of_them_are_served(line):
    steps = []
    beginning = prompt_of(9, 60)
    prompts = [[*beginning, 100 + n, *prompt_of(n, 9)] for n in range(5)]
    with line.served(on_step=steps.append) as scheduler:
        first = iter(scheduler.submit(prompts[0], GenerationOptions(GREEDY, 60)))
        got = [[next(first)]]
        others = [scheduler.submit(prompt, GenerationOptions(GREEDY, 30)) for prompt in prompts[1:]]
        got += [list(generation) for generation in others]
        got[0] += first
    assert got == [line.alone(p, GREEDY, 30 if n else 60) for n, p in enumerate(prompts)]
    assert prompt_rows(steps) == 70 + 4 * 10


def test_without_room_for_more_the_rest_wait_in_their_order(line):
    # Three texts of two tiles each fit at once.
    limits = replace(LIMITS, cache_positions=6 * 64)
    prompts = [prompt_of(n, 70 + n) for n in range(8)]
    with line.served(limits=limits) as scheduler:
        asked = [scheduler.submit(p, GenerationOptions(SEEDED, 40)) for p in prompts]
        stand = [generation.standing() for generation in asked]
        got = [list(generation) for generation in asked]
    positions = [one.position for one in stand if isinstance(one, Waiting)]
    assert positions == sorted(positions)
    assert isinstance(stand[-1], Waiting) and positions[-1] >= 3
    assert got == [line.alone(p, SEEDED, 40) for p in prompts]


def test_a_full_queue_says_so_and_takes_requests_again_later(line):
    limits = replace(LIMITS, max_sequences=1)
    settings = SchedulerSettings(max_waiting=1)
    with line.served(settings, limits) as scheduler:
        running = iter(scheduler.submit([1, 2], GenerationOptions(SEEDED, 5000)))
        next(running)
        waiting = scheduler.submit([1, 3], GenerationOptions(SEEDED, 5))
        with pytest.raises(QueueFull, match="try again later"):
            scheduler.submit([1, 4], GenerationOptions(SEEDED, 5))
        running.close()
        assert len(list(waiting)) == 5
        assert len(answer(scheduler, [1, 4], SEEDED, 5)) == 5


def test_a_request_cancelled_while_it_waits_never_begins(line):
    limits = replace(LIMITS, max_sequences=1)
    with line.served(limits=limits) as scheduler:
        running = iter(scheduler.submit([1, 2], GenerationOptions(SEEDED, 5000)))
        next(running)
        waiting = scheduler.submit([1, 3], GenerationOptions(SEEDED, 5))
        waiting.cancel()
        assert list(waiting) == []
        assert waiting.finish_reason is FinishReason.INTERRUPTED
        running.close()


def test_a_listener_may_cancel_what_waits_while_it_is_told_of_it(line):
    limits = replace(LIMITS, max_sequences=1)
    with line.served(limits=limits) as scheduler:
        running = iter(scheduler.submit([1, 2], GenerationOptions(SEEDED, 5000)))
        next(running)
        waiting = scheduler.submit([1, 3], GenerationOptions(SEEDED, 5))
        waiting.listen(lambda _: waiting.cancel())
        waiting.cancel()
        assert list(waiting) == []
        running.close()
        assert len(answer(scheduler, [1, 4], SEEDED, 5)) == 5


def test_a_very_long_prompt_starves_no_one(line):
    """While it is prefilled, a short request gets all its tokens, and a text goes on."""
    steps = []
    with line.served(on_step=steps.append) as scheduler:
        talking = iter(scheduler.submit([1, 2], GenerationOptions(SEEDED, 5000, draft=False)))
        next(talking)
        long = scheduler.submit(prompt_of(1, 30_000), GenerationOptions(SEEDED, 5))
        eventually(lambda: prompt_rows(steps), lambda rows: rows > 500)
        begun = len(steps)
        assert len(answer(scheduler, prompt_of(2, 40), SEEDED, 10, draft=False)) == 10
        passed = steps[begun:]
        assert prompt_rows(passed) < 20_000, "the long prompt was still on its way"
        # Ten tokens and a prompt of a few chunks, each at most a few steps after the one before.
        assert len(passed) < 150
        long.cancel()
        talking.close()


def test_cancelling_frees_what_is_in_flight_and_the_others_go_on(line):
    prompt = prompt_of(5, 50)
    with line.served(SchedulerSettings(reuse_prefixes=False)) as scheduler:
        long = scheduler.submit(prompt_of(1, 20_000), GenerationOptions(GREEDY, 5))
        tokens = iter(scheduler.submit(prompt, GenerationOptions(GREEDY, 60)))
        got = [next(tokens)]
        long.cancel()
        assert list(long) == []
        got += tokens
        held = [_sequences(stage) for stage in line.stages]
    assert got == line.alone(prompt, GREEDY, 60)
    assert held == [0, 0, 0]


def _sequences(stage):
    """What a stage holds, once it has heard of the last end."""
    with NodeClient(stage.peer, PLAIN) as client:
        return eventually(lambda: client.describe().stage.sequences, lambda count: count == 0)


def test_a_lost_stage_ends_every_request_with_its_reason(random_store, tmp_path):
    with (
        pipeline(random_store, [0, 3, 6], tmp_path) as stages,
        Line(stages, MODEL, LIMITS, whole_model(random_store, OF_STAGES)).served() as scheduler,
    ):
        options = GenerationOptions(SEEDED, 5000)
        asked = [iter(scheduler.submit([1, n], options)) for n in range(3)]
        for tokens in asked:
            next(tokens)
        with NodeClient(stages[1].peer, PLAIN) as client:
            client.unload_stage(EPOCH)
        for tokens in asked:
            with pytest.raises(StaleEpoch):
                list(tokens)
        with pytest.raises(StaleEpoch):
            scheduler.submit([1], options)
        assert isinstance(scheduler.failure, StaleEpoch)

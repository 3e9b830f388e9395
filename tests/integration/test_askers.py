"""Askers share a pipeline: who floods it waits for themselves, and each is told how long."""

from dataclasses import replace

import pytest

from pi_cluster.cluster.errors import QueueFull
from pi_cluster.cluster.wire.client import NodeClient
from pi_cluster.coordinator.finish_reason import FinishReason
from pi_cluster.coordinator.generation import GenerationOptions
from pi_cluster.coordinator.scheduling.cache_limits import CacheLimits
from pi_cluster.coordinator.scheduling.scheduler import SchedulerSettings
from pi_cluster.coordinator.served_model import ServedModel
from pi_cluster.coordinator.standing import Reading, Waiting
from pi_cluster.transformer.cache import CacheRoom
from pi_cluster.transformer.limits import Limits
from tests.support.cluster_process import eventually
from tests.support.serving import GREEDY, Line, prompt_of, whole_model
from tests.support.worker_servers import PLAIN, pipeline

MODEL = ServedModel(130, 1, frozenset(), None)
LIMITS = CacheLimits(20, 20 * 128, 128, (CacheRoom(32, 128),), 64)
OF_STAGES = Limits(64, LIMITS.max_sequences, 1024, LIMITS.cache_positions)
ENDLESS = 100_000


@pytest.fixture(scope="module")
def line(random_store, tmp_path_factory):
    """Three stages whose caches wrap after 128 positions."""
    folder = tmp_path_factory.mktemp("stages")
    with pipeline(random_store, [0, 2, 4, 6], folder, OF_STAGES) as stages:
        yield Line(stages, MODEL, LIMITS, whole_model(random_store, OF_STAGES))


def options(count, asker=""):
    return GenerationOptions(GREEDY, count, asker=asker)


def test_who_asks_little_is_passed_by_one_request_of_who_floods(line):
    begun = []
    limits = replace(LIMITS, max_sequences=1)
    with line.served(limits=limits) as scheduler:
        talking = iter(scheduler.submit([1, 2], options(ENDLESS, "flood")))
        next(talking)
        flood = [scheduler.submit([1, n], options(5, "flood")) for n in range(10, 16)]
        other = [scheduler.submit([1, n], options(5, "other")) for n in (20, 21)]
        names = {one: f"flood {n}" for n, one in enumerate(flood)}
        names |= {one: f"other {n}" for n, one in enumerate(other)}
        told = sorted(names, key=lambda one: one.standing().position)
        for one in names:
            one.listen(lambda _, name=names[one]: begun.append(name))
        talking.close()
        for one in names:
            list(one)
    order = list(dict.fromkeys(begun))
    assert order == [names[one] for one in told], "each began where its position said"
    assert order[:4] == ["other 0", "flood 0", "other 1", "flood 1"]


def test_what_does_not_fit_yet_is_not_passed_by_what_does(line):
    limits = replace(LIMITS, cache_positions=3 * 64)
    with line.served(limits=limits) as scheduler:
        talking = iter(scheduler.submit([1, 2], options(ENDLESS)))
        next(talking)
        small = iter(scheduler.submit([1, 3], options(60)))
        next(small)
        large = scheduler.submit([1, 4], options(ENDLESS))
        others = [scheduler.submit([1, n], options(20)) for n in range(5, 9)]
        list(small)
        assert [one.standing().position for one in (large, *others)] == [0, 1, 2, 3, 4]
        talking.close()
        assert next(iter(large)) in range(130)
        assert [len(list(one)) for one in others] == [20] * 4


def test_a_request_tells_what_it_waits_for_until_its_text_grows(line):
    limits = replace(LIMITS, max_sequences=1)
    with line.served(limits=limits) as scheduler:
        talking = iter(scheduler.submit([1, 2], options(ENDLESS)))
        next(talking)
        first, second = (scheduler.submit(prompt_of(1, 20_000), options(5)) for _ in range(2))
        assert first.standing() == Waiting(0, None)
        assert second.standing() == Waiting(1, None), "nobody has ended yet"
        talking.close()
        eventually(first.standing, lambda now: isinstance(now, Reading) and now.done > 0)
        found = first.standing()
        assert isinstance(found, Reading) and 0 < found.done <= found.total == 20_000
        waiting = second.standing()
        assert waiting.position == 0 and waiting.expected_s > 0
        first.cancel()
        second.cancel()
        assert list(first) == list(second) == []
        assert first.standing() is second.standing() is None


def test_who_would_come_now_is_told_how_long_it_takes_and_who_finds_it_full_when_to_come(line):
    limits = replace(LIMITS, max_sequences=1)
    with line.served(SchedulerSettings(max_waiting=1), limits) as scheduler:
        assert scheduler.occupancy.expected_wait_s == 0
        list(scheduler.submit([1, 2], options(5)))
        talking = iter(scheduler.submit([1, 2], options(ENDLESS)))
        next(talking)
        scheduler.submit([1, 3], options(5))
        with pytest.raises(QueueFull) as full:
            scheduler.submit([1, 4], options(5))
        mean_s = full.value.free_in_s
        assert mean_s > 0
        assert scheduler.occupancy.expected_wait_s == pytest.approx(2 * mean_s), "one is before it"
        talking.close()


def test_what_was_held_already_counts_as_read(line):
    prompt = prompt_of(2, 90)
    with line.served() as scheduler:
        list(scheduler.submit(prompt, options(1)))
        again = scheduler.submit([*prompt, *prompt_of(3, 20_000)], options(5))
        reading = eventually(again.standing, lambda now: isinstance(now, Reading))
        assert reading.done >= 90
        again.cancel()
        list(again)


def held(line):
    sequences = []
    for stage in line.stages:
        with NodeClient(stage.peer, PLAIN) as client:
            sequences.append(client.describe().stage)
    return [(one.sequences, one.cache_bytes) for one in sequences]


@pytest.mark.parametrize("phase", ["queue", "prefill", "decode"])
def test_a_cancelled_request_leaves_nothing_at_the_workers(line, phase):
    limits = replace(LIMITS, max_sequences=1)
    with line.served(SchedulerSettings(reuse_prefixes=False), limits) as scheduler:
        talking = scheduler.submit([1, 2], options(ENDLESS))
        if phase == "queue":
            next(iter(talking))
            request = scheduler.submit([1, 3], options(5))
            assert request.standing().position == 0
            talking.cancel()
        elif phase == "prefill":
            talking.cancel()
            request = scheduler.submit(prompt_of(1, 30_000), options(5))
            eventually(request.standing, lambda now: isinstance(now, Reading) and now.done > 0)
        else:
            request = talking
            next(iter(request))
        request.cancel()
        assert request.finish_reason is FinishReason.INTERRUPTED
        eventually(lambda: held(line), lambda found: found == [(0, 0)] * 3, 5)


def test_a_session_rests_only_when_nothing_was_asked_for_long_enough(line, monkeypatch):
    rests = []
    lasting = SchedulerSettings(rest_after_s=3600)
    for settings, expected in ((lasting, 0), (SchedulerSettings(rest_after_s=0.05), 1)):
        with line.served(settings) as scheduler:
            monkeypatch.setattr(scheduler._session, "rest", lambda: rests.append(1))
            list(scheduler.submit([1, 2], options(3)))
            if expected:
                eventually(lambda: rests, bool)
            list(scheduler.submit([1, 2], options(3)))
        assert len(rests) >= expected and bool(rests) == bool(expected)

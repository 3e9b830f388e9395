"""Texts through real stages, guessed by a real model beside them: the ids are those without it."""

from contextlib import contextmanager

import pytest

from pi_cluster.cluster.store.store import Store
from pi_cluster.coordinator.drafting.draft_model import DraftModel
from pi_cluster.coordinator.generation import GenerationOptions
from pi_cluster.coordinator.scheduling.cache_limits import CacheLimits
from pi_cluster.coordinator.served_model import ServedModel
from pi_cluster.deploy.drafting.stage_engine import open_engine
from pi_cluster.transformer.cache import CacheRoom
from pi_cluster.transformer.limits import Limits
from pi_cluster.transformer.sampling_settings import SamplingSettings
from tests.support.checkpoints import small_config, write_hugging_face_checkpoint
from tests.support.serving import GREEDY, Line, prompt_of, whole_model
from tests.support.stores import shard
from tests.support.worker_servers import pipeline

SEEDED = SamplingSettings(temperature=0.9, seed=11)
VOCAB = 130
MODEL = ServedModel(VOCAB, 1, frozenset(), None)
LIMITS = CacheLimits(20, 20 * 128, 128, (CacheRoom(32, 128),), 64)
OF_STAGES = Limits(64, LIMITS.max_sequences, 1024, LIMITS.cache_positions)
PROMPTS = [prompt_of(seed, length) for seed, length in ((3, 90), (4, 40), (5, 3))]
COUNT = 60


@pytest.fixture(scope="module")
def line(random_store, tmp_path_factory):
    """Three stages."""
    folder = tmp_path_factory.mktemp("stages")
    with pipeline(random_store, [0, 2, 4, 6], folder, OF_STAGES) as stages:
        yield Line(stages, MODEL, LIMITS, whole_model(random_store, OF_STAGES))


@pytest.fixture(scope="module")
def poor(tmp_path_factory):
    """A model of its own mind, without a window: it guesses to the end of its context alone."""
    folder = tmp_path_factory.mktemp("poor")
    write_hugging_face_checkpoint(folder / "checkpoint", small_config(window=None), seed=9)
    shard(folder / "checkpoint", folder / "store", "q8")
    return Store(folder / "store")


@contextmanager
def served(line, store, context=1024):
    """A scheduler whose texts this store's model guesses."""
    with (
        open_engine(store, VOCAB, context, 1) as engine,
        line.served(drafters=[DraftModel(engine)]) as scheduler,
    ):
        yield scheduler


def ask_all(scheduler, sampling):
    asked = [scheduler.submit(p, GenerationOptions(sampling, COUNT)) for p in PROMPTS]
    return [list(generation) for generation in asked]


@pytest.mark.parametrize("sampling", [GREEDY, SEEDED], ids=["greedy", "seeded"])
def test_the_model_itself_is_always_right(line, random_store, sampling):
    with served(line, random_store) as scheduler:
        assert ask_all(scheduler, sampling) == [line.alone(p, sampling, COUNT) for p in PROMPTS]
        alone = list(scheduler.submit(PROMPTS[0], GenerationOptions(sampling, COUNT)))
        assert alone == line.alone(PROMPTS[0], sampling, COUNT)
        assert scheduler.counters.right_by["model"] > 0
        assert scheduler.counters.wrong_by["model"] == 0


@pytest.mark.parametrize("context", [1024, 50])
@pytest.mark.parametrize("sampling", [GREEDY, SEEDED], ids=["greedy", "seeded"])
def test_another_model_may_say_what_it_will(line, poor, sampling, context):
    with served(line, poor, context) as scheduler:
        assert ask_all(scheduler, sampling) == [line.alone(p, sampling, COUNT) for p in PROMPTS]
        assert scheduler.counters.wrong_by["model"] > 0

"""The soak in small: many requests of many users, none of whose answers may be wrong or lost."""

from contextlib import contextmanager
from dataclasses import replace

import pytest

from benchmarks.soak.questions import Tally, answered_alone, ask_all, questions
from pi_cluster.coordinator.scheduling.cache_limits import CacheLimits
from pi_cluster.coordinator.scheduling.scheduler import Scheduler, SchedulerSettings
from pi_cluster.coordinator.served_model import ServedModel
from pi_cluster.coordinator.session import Session
from pi_cluster.transformer.cache import CacheRoom
from pi_cluster.transformer.limits import Limits
from tests.support.worker_servers import EPOCH, PLAIN, pipeline

VOCAB = 130
MODEL = ServedModel(VOCAB, 1, frozenset(), None)
# Room for fewer texts than users have, so that some wait and others are dropped.
LIMITS = CacheLimits(12, 12 * 128, 128, (CacheRoom(32, 128),), 64)


@contextmanager
def scheduler(stages, settings=None):
    with (
        Session(stages, EPOCH, VOCAB, PLAIN) as session,
        Scheduler(session, MODEL, LIMITS, settings) as serving,
    ):
        yield serving


@pytest.fixture(scope="module")
def stages(random_store, tmp_path_factory):
    limits = Limits(LIMITS.max_step_rows, LIMITS.max_sequences, 1024, LIMITS.cache_positions)
    folder = tmp_path_factory.mktemp("stages")
    with pipeline(random_store, [0, 2, 4, 6], folder, limits) as served:
        yield served


def test_no_token_is_lost_or_another_s(stages):
    tally = Tally()
    with scheduler(stages, SchedulerSettings(reuse_prefixes=False)) as alone:
        asked = answered_alone(alone, questions(VOCAB, MODEL.bos_id, seed=3))
    with scheduler(stages) as shared:
        ask_all(shared, asked, 200, 20, 7, tally)
    assert (tally.done, tally.wrong) == (200, [])
    assert tally.cancelled > 5


def test_a_wrong_answer_is_seen(stages):
    tally = Tally()
    asked = [replace(one, answer=(-1,) * 16) for one in questions(VOCAB, 1, seed=3)[:2]]
    with scheduler(stages) as shared:
        ask_all(shared, asked, 4, 2, 7, tally)
    assert len(tally.wrong) == 4

"""Nodes that are short of memory: what is kept goes, nobody comes in, and texts go back to wait."""

import collections
from contextlib import contextmanager

import pytest

from pi_cluster.cluster.errors import NodeLost, PutBack
from pi_cluster.cluster.wire.client import NodeClient
from pi_cluster.coordinator.generation import GenerationOptions
from pi_cluster.coordinator.scheduling.cache_limits import CacheLimits
from pi_cluster.coordinator.scheduling.scheduler import Scheduler
from pi_cluster.coordinator.served_model import ServedModel
from pi_cluster.coordinator.session import Session
from pi_cluster.coordinator.standing import Held
from pi_cluster.transformer.cache import CacheRoom
from pi_cluster.transformer.limits import Limits
from tests.support.cluster_process import eventually
from tests.support.machines import machine_of_a_group
from tests.support.serving import GREEDY, Line, answer, prompt_of, whole_model
from tests.support.worker_servers import EPOCH, PLAIN, pipeline

MODEL = ServedModel(130, 1, frozenset(), None)
LIMITS = CacheLimits(20, 20 * 128, 128, (CacheRoom(32, 128),), 64)
OF_STAGES = Limits(64, LIMITS.max_sequences, 1024, LIMITS.cache_positions)
ENDLESS = 100_000
MIB = 1 << 20
LIMIT = 400 * MIB


class Machine:
    """What Linux tells the workers of their control group."""

    def __init__(self, root):
        self.root = root
        self.has_left(200)

    def has_left(self, mib):
        """So much until the group is full."""
        used = LIMIT - mib * MIB
        machine_of_a_group(self.root, version=2, limit=LIMIT, used=used, files=0)


@pytest.fixture(scope="module")
def whole(random_store):
    return whole_model(random_store, OF_STAGES)


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path / "root")


@pytest.fixture
def line(random_store, tmp_path, machine, whole):
    """Two stages whose caches wrap after 128 positions, on one machine that is prepared."""
    bounds, root = [0, 3, 6], machine.root
    with pipeline(random_store, bounds, tmp_path / "shards", OF_STAGES, root) as stages:
        yield Line(stages, MODEL, LIMITS, whole)


@contextmanager
def served(line, notices):
    """A scheduler of the line; what people are told is added to ``notices``."""
    with (
        Session(line.stages, EPOCH, MODEL.vocab_size, PLAIN, notices.append) as session,
        Scheduler(session, MODEL, LIMITS) as scheduler,
    ):
        yield scheduler


def held_by(line):
    """How many texts each node holds."""
    counts = []
    for stage in line.stages:
        with NodeClient(stage.peer, PLAIN) as node:
            counts.append(node.describe().stage.sequences)
    return counts


def test_what_is_kept_goes_first_and_questions_wait_until_memory_is_back(line, machine):
    notices, prompt = [], prompt_of(1, 40)
    with served(line, notices) as scheduler:
        first = answer(scheduler, prompt)
        assert held_by(line) == [1, 1] and scheduler.occupancy.cache_positions_used
        machine.has_left(19)
        eventually(lambda: held_by(line), lambda held: held == [0, 0])
        assert not scheduler.occupancy.cache_positions_used
        asked = scheduler.submit(prompt, GenerationOptions(GREEDY, 30))
        standing = eventually(asked.standing, lambda one: isinstance(one, Held))
        assert "node-0:3" in standing.reason and "short of memory" in standing.reason
        assert held_by(line) == [0, 0]
        machine.has_left(40)
        assert list(asked) == first == line.alone(prompt, GREEDY, 30)
    assert [one for one in notices if "is short of memory" in one], notices
    assert [one for one in notices if "memory to spare again" in one], notices


def test_a_text_that_runs_goes_on_while_memory_is_short_and_is_not_kept(line, machine):
    notices, prompt = [], prompt_of(2, 40)
    with served(line, notices) as scheduler:
        ids = iter(scheduler.submit(prompt, GenerationOptions(GREEDY, ENDLESS)))
        begun = [next(ids)]
        machine.has_left(19)
        eventually(lambda: len(notices), lambda told: told == 2)
        later = scheduler.submit([1, 2], GenerationOptions(GREEDY, 5))
        eventually(later.standing, lambda one: isinstance(one, Held))
        begun += [next(ids) for _ in range(40)]
        assert begun == line.alone(prompt, GREEDY, 41)
        ids.close()
        eventually(lambda: held_by(line), lambda held: held == [0, 0])
        assert isinstance(later.standing(), Held)
        machine.has_left(40)
        assert list(later) == line.alone([1, 2], GREEDY, 5)


def test_of_several_that_run_the_last_ones_are_put_back_and_the_first_goes_on(line, machine):
    with served(line, []) as scheduler:
        texts = [scheduler.submit([1, n], GenerationOptions(GREEDY, ENDLESS)) for n in range(3)]
        readers = [iter(text) for text in texts]
        for reader in readers:
            next(reader)
        machine.has_left(19)
        for reader in (readers[2], readers[1]):
            with pytest.raises(PutBack, match="short of memory"):
                collections.deque(reader, maxlen=0)
        eventually(lambda: held_by(line), lambda held: held == [1, 1])
        assert next(readers[0]) in range(130)
        readers[0].close()


def test_a_worker_lets_go_of_its_texts_rather_than_be_killed(line, machine):
    with served(line, []) as scheduler:
        running = iter(scheduler.submit(prompt_of(3, 40), GenerationOptions(GREEDY, ENDLESS)))
        next(running)
        machine.has_left(9)
        with pytest.raises(NodeLost, match=r"node-\d:\d let go of its texts when 9 MiB"):
            collections.deque(running, maxlen=0)
    assert held_by(line) == [0, 0]
    machine.has_left(200)
    with served(line, []) as scheduler:
        assert answer(scheduler, prompt_of(3, 40)) == line.alone(prompt_of(3, 40), GREEDY, 30)

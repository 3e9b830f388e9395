"""Guesses that turn out wrong are dropped wherever they are, and the rest keeps its bits."""

import threading

import numpy as np
import pytest

from pi_cluster.cluster.errors import NodeError, NodeLost
from pi_cluster.transformer.stage import Stage
from pi_cluster.worker.stage import superseded
from pi_cluster.worker.stage.superseded import Superseded
from tests.support.raw_session import RawSession, logits_of
from tests.support.worker_servers import pipeline

PATIENCE_S = 30
BOUNDS = [0, 2, 4, 6]
TEXT = [1, *range(40)]
WRONG = [77, 78, 79]
OTHER = [1, *range(129, 100, -1)]


class Traffic:
    """What every stage computes; a stage can be held in the middle of it."""

    def __init__(self, monkeypatch):
        self.computed = {start: [] for start in BOUNDS[:-1]}
        self._changed = threading.Condition()
        self._marks = 0
        self._held = None
        self._arrived = self._going = threading.Event()
        forward, logits, put = Stage.forward, Stage.logits, Superseded.put

        def recorded_forward(stage, chunks, hidden):
            with self._changed:
                self.computed[stage.layers.start].append([c.sequence for c in chunks])
                self._changed.notify_all()
            self._pass((stage.layers.start, "forward"))
            return forward(stage, chunks, hidden)

        def held_logits(stage, hidden):
            self._pass((stage.layers.start, "logits"))
            return logits(stage, hidden)

        def counted_put(marks, mark):
            put(marks, mark)
            with self._changed:
                self._marks += 1
                self._changed.notify_all()

        monkeypatch.setattr(Stage, "forward", recorded_forward)
        monkeypatch.setattr(Stage, "logits", held_logits)
        monkeypatch.setattr(Superseded, "put", counted_put)

    def hold(self, start, what="forward"):
        """Let the stage stop the next time it begins to compute this."""
        self._arrived, self._going = threading.Event(), threading.Event()
        self._held = (start, what)

    def wait_held(self):
        assert self._arrived.wait(PATIENCE_S)

    def go_on(self):
        self._going.set()

    def wait_computed(self, start, steps):
        """Until a stage has begun with so many steps."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.computed[start]) >= steps, PATIENCE_S)

    def wait_marks(self, count):
        """Until so many marks have been remembered, over all stages."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._marks >= count, PATIENCE_S)

    def _pass(self, place):
        if self._held == place:
            self._held = None
            self._arrived.set()
            assert self._going.wait(PATIENCE_S)


@pytest.fixture(scope="module")
def alone(random_store, tmp_path_factory):
    """Logits of both texts, each in a session of its own."""
    found = {}
    with pipeline(random_store, BOUNDS, tmp_path_factory.mktemp("alone")) as stages:
        for sequence, ids in ((1, TEXT), (2, OTHER)):
            with RawSession(stages) as line:
                found |= line.step((sequence, 0, ids))
    return found


@pytest.fixture
def stages(random_store, tmp_path):
    with pipeline(random_store, BOUNDS, tmp_path) as served:
        yield served


@pytest.fixture
def traffic(stages, monkeypatch):
    watched = Traffic(monkeypatch)
    yield watched
    watched.go_on()


def assert_as_alone(found, alone, places):
    assert sorted(found) == sorted(places)
    for place in places:
        np.testing.assert_array_equal(found[place], alone[place], err_msg=str(place))


def results(line, count):
    return {result.step: logits_of(result) for result in (line.receive() for _ in range(count))}


@pytest.mark.parametrize("held", BOUNDS[:-1])
def test_what_waits_is_dropped_and_its_companions_are_not(stages, traffic, alone, held):
    with RawSession(stages) as line:
        line.step((1, 0, TEXT[:10]), (2, 0, OTHER[:5]))
        traffic.hold(held)
        line.send((1, 10, WRONG[:2]))
        traffic.wait_held()
        line.send((1, 12, WRONG))
        mixed = line.send((1, 15, WRONG), (2, 5, OTHER[5:9]))
        line.send((1, 18, WRONG))
        for start in BOUNDS[: BOUNDS.index(held)]:
            traffic.wait_computed(start, 5)
        line.supersede(1, before_step=mixed + 2)
        # As far as the stage that is held, and beyond it.
        traffic.wait_marks(3)
        true = line.send((1, 10, TEXT[10:]), (2, 9, OTHER[9:]))
        traffic.go_on()
        found = results(line, 2)
        assert line.step((3, 0, [5])).keys() == {(3, 0)}
    assert found.keys() == {mixed, true}
    assert_as_alone(found[mixed], alone, [(2, p) for p in range(5, 9)])
    expected = [(1, p) for p in range(10, len(TEXT))] + [(2, p) for p in range(9, len(OTHER))]
    assert_as_alone(found[true], alone, expected)
    for start in BOUNDS[:-1]:
        begun = traffic.computed[start]
        if start < held:
            assert begun == [[1, 2], [1], [1], [1, 2], [1], [1, 2], [3]]
        elif start == held:
            assert begun == [[1, 2], [1], [2], [1, 2], [3]]
        else:
            assert begun == [[1, 2], [2], [1, 2], [3]]


@pytest.mark.parametrize("place", [(0, "forward"), (2, "forward"), (4, "forward"), (4, "logits")])
def test_what_is_being_computed_is_not_passed_on(stages, traffic, alone, place):
    with RawSession(stages) as line:
        line.step((1, 0, TEXT[:10]), (2, 0, OTHER[:5]))
        for wrong in (True, False):
            # A guess alone, then one beside a chunk that is wanted.
            traffic.hold(*place)
            others = [] if wrong else [(2, 5, OTHER[5:9])]
            number = line.send((1, 10, WRONG), *others)
            traffic.wait_held()
            line.supersede(1, before_step=number + 1)
            traffic.wait_marks(3 if wrong else 6)
            traffic.go_on()
        found = results(line, 1)
        assert found.keys() == {number}
        assert_as_alone(found[number], alone, [(2, p) for p in range(5, 9)])
        found = line.step((1, 10, TEXT[10:]))
        assert_as_alone(found, alone, [(1, p) for p in range(10, len(TEXT))])
    for start in BOUNDS[:-1]:
        begun = traffic.computed[start]
        assert begun == [[1, 2], *([[1], [1, 2]] if start <= place[0] else [[2]]), [1]]


def test_a_mark_holds_for_what_comes_later_until_its_sequence_ends(stages, alone):
    with RawSession(stages) as line:
        line.step((1, 0, TEXT[:10]))
        line.supersede(1, before_step=5)
        line.send((1, 10, WRONG))
        third = line.send((2, 0, OTHER[:9]), (1, 10, WRONG))
        assert_as_alone(results(line, 1)[third], alone, [(2, p) for p in range(9)])
        line.end(1)
        assert_as_alone(line.step((1, 0, TEXT[:10])), alone, [(1, p) for p in range(10)])


def test_a_flood_of_marks_is_refused(stages, monkeypatch):
    monkeypatch.setattr(superseded, "MAX_MARKS", 8)
    with RawSession(stages) as line:
        line.step((1, 0, TEXT[:10]))
        for sequence in range(9):
            line.supersede(sequence, before_step=100)
        with pytest.raises(NodeError, match="more than 8 sequences were superseded"):
            line.failure()
        with pytest.raises(NodeLost):
            line.receive()
    with RawSession(stages) as line:
        assert len(line.step((1, 0, TEXT))) == len(TEXT)

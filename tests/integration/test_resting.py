"""A coordinator that rests keeps its caches until another one wants the pipeline."""

import queue
import threading

import numpy as np
import pytest

from pi_cluster.cluster import settings
from pi_cluster.cluster.errors import NodeLost, PipelineBusy, SessionYielded
from pi_cluster.cluster.wire.client import NodeClient
from pi_cluster.worker.stage.state import StageState
from tests.support.raw_session import RawSession, logits_of
from tests.support.worker_servers import PLAIN, pipeline

TEXT = [1, *range(40)]


@pytest.fixture
def stages(random_store, tmp_path):
    with pipeline(random_store, [0, 2, 4, 6], tmp_path) as served:
        yield served


def held(stages):
    """Sequences and bytes of caches on every stage, and who holds it."""
    found = []
    for stage in stages:
        with NodeClient(stage.peer, PLAIN) as client:
            status = client.describe().stage
        found.append((status.sequences, status.cache_bytes > 0, bool(status.coordinator)))
    return found


def test_a_resting_coordinator_gives_way_and_learns_it_at_its_next_step(stages):
    with RawSession(stages) as first:
        kept = first.step((1, 0, TEXT), (2, 0, TEXT))
        first.rest()
        with RawSession(stages) as second:
            found = second.step((7, 0, TEXT))
            for position in range(len(TEXT)):
                np.testing.assert_array_equal(found[7, position], kept[1, position])
            # Of the first one's two sequences none is left.
            assert held(stages) == [(1, True, True)] * 3
            first.send((1, len(TEXT), [5]))
            with pytest.raises(SessionYielded, match="rested: ask again"):
                first.failure()
            with pytest.raises(NodeLost):
                first.receive()
            assert second.step((7, len(TEXT), [5])).keys() == {(7, len(TEXT))}
            second.close()
        assert held(stages) == [(0, False, False)] * 3


def test_a_coordinator_that_rests_and_is_not_asked_keeps_its_caches(stages):
    with RawSession(stages) as line:
        for start in range(0, len(TEXT), 7):
            line.step((1, start, TEXT[start : start + 7]))
            line.rest()
        assert held(stages) == [(1, True, True)] * 3
        line.close()


@pytest.mark.parametrize("rested_before", [False, True])
def test_a_coordinator_that_works_does_not_give_way(stages, monkeypatch, rested_before):
    monkeypatch.setattr(settings, "BUSY_WAIT_S", 0.2)
    with RawSession(stages) as first:
        first.step((1, 0, TEXT))
        if rested_before:
            first.rest()
            first.step((1, len(TEXT), [5]))
        with RawSession(stages) as second, pytest.raises(PipelineBusy, match="is answering"):
            second.failure()
        assert len(first.step((1, 1, TEXT[1:]))) == len(TEXT) - 1
        first.close()


def test_one_that_begins_to_rest_gives_way_to_who_waits_already(stages, monkeypatch):
    # The wait outlasts the test: it must be the rest that ends it.
    monkeypatch.setattr(settings, "BUSY_WAIT_S", 1_000)
    asked = threading.Event()
    ask = StageState._free_or_yielded

    def watched(state):
        answer = ask(state)
        if not answer:
            asked.set()
        return answer

    with RawSession(stages) as first:
        first.step((1, 0, TEXT))
        monkeypatch.setattr(StageState, "_free_or_yielded", watched)
        with RawSession(stages) as second:
            second.send((7, 0, [1]))
            assert asked.wait(30)
            first.rest()
            assert logits_of(second.receive()).keys() == {(7, 0)}
        with pytest.raises(SessionYielded):
            first.failure()


def test_of_two_that_wait_one_gets_the_pipeline_and_the_other_is_told(stages, monkeypatch):
    monkeypatch.setattr(settings, "BUSY_WAIT_S", 0.5)
    refused = queue.SimpleQueue()
    with RawSession(stages) as first, RawSession(stages) as second, RawSession(stages) as third:
        first.step((1, 0, TEXT))
        for line in (second, third):
            line.inlet.add_done_callback(lambda _, line=line: refused.put(line))
            line.send((7, 0, [1]))
        first.rest()
        told = refused.get(timeout=30)
        with pytest.raises(PipelineBusy):
            told.failure()
        served = third if told is second else second
        assert logits_of(served.receive()).keys() == {(7, 0)}
        with pytest.raises(SessionYielded):
            first.failure()


@pytest.mark.parametrize("attempt", range(8))
def test_a_step_that_races_with_another_coordinator_is_answered_or_told(stages, attempt):
    with RawSession(stages) as first:
        first.step((1, 0, TEXT))
        first.rest()
        with RawSession(stages) as second:
            first.send((1, len(TEXT), [5]))
            try:
                assert logits_of(first.receive()).keys() == {(1, len(TEXT))}
                first.close()
            except NodeLost:
                with pytest.raises(SessionYielded):
                    first.failure()
            assert len(second.step((1, 0, TEXT))) == len(TEXT)
            second.close()
    assert held(stages) == [(0, False, False)] * 3

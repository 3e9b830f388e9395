"""What goes wrong with one request ends that request alone; only a lost session ends them all."""

import numpy as np
import pytest

from pi_cluster.cluster.errors import NodeError
from pi_cluster.coordinator.generation import GenerationOptions
from pi_cluster.coordinator.measurement import Measurement
from pi_cluster.coordinator.pooling import Pooling
from pi_cluster.coordinator.scheduling.cache_limits import CacheLimits
from pi_cluster.coordinator.scoring import Scoring
from pi_cluster.coordinator.served_model import ServedModel
from pi_cluster.coordinator.steps import StepChunk
from pi_cluster.transformer.cache import CacheRoom
from pi_cluster.transformer.errors import ModelError
from pi_cluster.worker.stage.outlet import ResultSink
from tests.support.serving import GREEDY, Line, answer, whole_model
from tests.support.worker_servers import LIMITS, pipeline

VOCAB = 130
OPTIONS = GenerationOptions(GREEDY, 40, draft=False)


@pytest.fixture(scope="module")
def line(random_store, tmp_path_factory):
    """Three stages on real sockets."""
    folder = tmp_path_factory.mktemp("stages")
    limits = CacheLimits(
        LIMITS.max_sequences, LIMITS.cache_positions, 576, (CacheRoom(32, 576),), 512
    )
    with pipeline(random_store, [0, 2, 4, 6], folder) as stages:
        whole = whole_model(random_store, LIMITS)
        model = ServedModel(VOCAB, 1, frozenset(), None, dim=whole.config.dim)
        yield Line(stages, model, limits, whole)


def beyond_the_vocabulary(row):
    row.ids = np.array([VOCAB], "<i4").tobytes()


def not_as_many_ids_as_logits(row):
    row.ids = np.array([1, 2, 3], "<i4").tobytes()


def half_a_number(row):
    row.logits = row.logits[:-1]


def no_number(row):
    row.logits = np.array([np.nan], "<f4").tobytes()


def out_of_turn(row):
    row.position += 1


def spoil_rows(monkeypatch, spoil, are_meant):
    """Have the last stage send some rows spoilt, or not at all where ``spoil`` is None."""
    send = ResultSink.send

    def spoiling(sink, result):
        for row in filter(are_meant, list(result.rows)):
            if spoil is None:
                result.rows.remove(row)
            else:
                spoil(row)
        send(sink, result)

    monkeypatch.setattr(ResultSink, "send", spoiling)


@pytest.mark.parametrize(
    ("spoil", "error", "reason"),
    [
        (beyond_the_vocabulary, NodeError, "no tokens of this model"),
        (not_as_many_ids_as_logits, NodeError, "no tokens of this model"),
        (half_a_number, NodeError, "no whole rows"),
        (no_number, ModelError, "NaN or infinite"),
        (out_of_turn, NodeError, r"node-4:6 answered for position \d+ out of turn"),
        (None, NodeError, "node-4:6 answered with 0 rows of 1"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_rows_that_are_worth_nothing_end_the_request_they_belong_to(
    line, monkeypatch, spoil, error, reason
):
    spoil_rows(monkeypatch, spoil, lambda row: row.sequence == 2 and row.position >= 9)
    with line.served() as scheduler:
        good = iter(scheduler.submit([1, 2], OPTIONS))
        got = [next(good)]
        bad = scheduler.submit([1, 3], OPTIONS)
        with pytest.raises(error, match=reason):
            list(bad)
        got += good
        later = answer(scheduler, [1, 4])
        assert scheduler.failure is None
    assert bad.ids == line.alone([1, 3], GREEDY, 8)
    assert got == line.alone([1, 2], GREEDY, 40)
    assert later == line.alone([1, 4], GREEDY, 30)


def a_number_short(row):
    row.state = row.state[4:]


def half_a_state(row):
    row.state = row.state[:-1]


def logits_instead(row):
    row.logits, row.state = row.state, b""


def no_state(row):
    row.state = np.full(len(row.state) // 4, np.inf, "<f4").tobytes()


def another_id(row):
    row.ids = np.array([int.from_bytes(row.ids, "little") ^ 1], "<i4").tobytes()


def too_likely(row):
    row.log_sum -= 1000


def no_sum(row):
    row.log_sum = float("nan")


@pytest.mark.parametrize("sees_all", [False, True], ids=["an id", "all logits"])
@pytest.mark.parametrize(
    ("spoil", "error", "reason"),
    [
        (
            another_id,
            NodeError,
            r"node-4:6 answered (for another id|with \d+ of 130 logits)|no tokens",
        ),
        (half_a_number, NodeError, "no whole rows"),
        (too_likely, NodeError, "node-4:6 answered with a probability above 1"),
        (no_sum, ModelError, "NaN or infinite"),
        (out_of_turn, NodeError, "node-4:6 answered for position 10 out of turn"),
        (None, NodeError, r"node-4:6 answered with \d rows of \d"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_scores_that_are_worth_nothing_end_the_request_they_belong_to(
    line, monkeypatch, spoil, error, reason, sees_all
):
    spoil_rows(monkeypatch, spoil, lambda row: row.log_sum and row.position == 9)
    with line.served() as scheduler:
        good = iter(scheduler.submit([1, 2], OPTIONS))
        got = [next(good)]
        scoring = Scoring([5, 6, 7], VOCAB, (lambda *_: None) if sees_all else None)
        options = GenerationOptions(max_tokens=1, draft=False, scoring=scoring)
        bad = scheduler.submit([1, *range(3, 13)], options)
        with pytest.raises(error, match=reason):
            list(bad)
        got += good
        assert scheduler.failure is None
    assert got == line.alone([1, 2], GREEDY, 40)


@pytest.mark.parametrize("pooling", list(Pooling))
@pytest.mark.parametrize(
    ("spoil", "error", "reason"),
    [
        (a_number_short, NodeError, "node-4:6 answered with a state of 63 numbers"),
        (half_a_state, NodeError, "no whole rows"),
        (logits_instead, NodeError, r"node-4:6 answered with \d states of \d"),
        (no_state, ModelError, "NaN or infinite"),
        (out_of_turn, NodeError, "node-4:6 answered for position 10 out of turn"),
        (None, NodeError, r"node-4:6 answered with \d states of \d"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_states_that_are_worth_nothing_end_the_request_they_belong_to(
    line, monkeypatch, spoil, error, reason, pooling
):
    spoil_rows(monkeypatch, spoil, lambda row: row.state and row.position == 9)
    with line.served() as scheduler:
        good = iter(scheduler.submit([1, 2], OPTIONS))
        got = [next(good)]
        bad = scheduler.submit([1, *range(3, 12)], GenerationOptions(max_tokens=1, pooling=pooling))
        with pytest.raises(error, match=reason):
            list(bad)
        got += good
        assert scheduler.failure is None
    assert got == line.alone([1, 2], GREEDY, 40)


def test_a_fault_in_the_coordinator_at_one_request_leaves_the_others_alone(line):
    with line.served() as scheduler:
        bad = scheduler.submit([1, 3], OPTIONS, Measurement(()))  # of another pipeline
        with pytest.raises(NodeError, match="the coordinator failed at this request: ValueError"):
            list(bad)
        later = answer(scheduler, [1, 4])
    assert later == line.alone([1, 4], GREEDY, 30)


def test_a_listener_that_raises_ends_no_request_and_is_heard_at_the_end(line):
    class Full(Exception):
        pass

    def listener(_step):
        raise Full

    heard = []
    with pytest.raises(Full), line.served(on_step=listener) as scheduler:
        scheduler.on_step.add(heard.append)
        got = [answer(scheduler, [1, 2]), answer(scheduler, [1, 3])]
    assert len(heard) > 2, "another listener goes on to be told"
    assert got == [line.alone([1, n], GREEDY, 30) for n in (2, 3)]


def test_who_stops_listening_harms_no_one_else(line):
    with line.served() as scheduler:
        good = scheduler.submit([1, 2], OPTIONS)
        with pytest.raises(ZeroDivisionError):
            for _ in scheduler.submit([1, 3], OPTIONS):
                raise ZeroDivisionError
        got = list(good)
    assert got == line.alone([1, 2], GREEDY, 40)


def test_a_chunk_that_a_stage_refuses_ends_the_session_by_name_and_another_begins(line):
    with line.session() as session:
        session.submit([StepChunk(1, 5, [1], 1, 1)])
        with pytest.raises(NodeError, match="goes on at position 5, but 0 positions are held"):
            session.next_result()
    with line.served() as scheduler:
        got = answer(scheduler, [1, 2])
    assert got == line.alone([1, 2], GREEDY, 30)


def a_step_is_missing(results):
    return results[1:]


def a_stage_is_missing(results):
    del results[0].timings[0]
    return results


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (a_step_is_missing, "node-4:6 answered step 2 before step 1"),
        (a_stage_is_missing, "2 of 3 stages reported on a step"),
    ],
)
def test_steps_that_are_worth_nothing_end_the_session_by_name_and_never_in_a_hang(
    line, monkeypatch, spoil, reason
):
    send, held = ResultSink.send, []

    def spoiling(sink, result):
        held.append(result)
        if len(held) == 2:
            for one in spoil(held):
                send(sink, one)

    monkeypatch.setattr(ResultSink, "send", spoiling)
    with line.served() as scheduler:
        # A prompt in single rows keeps several steps in flight.
        options = GenerationOptions(GREEDY, 40, chunk_size=1)
        asked = [scheduler.submit([1, *range(n, 50)], options) for n in (2, 3)]
        for generation in asked:
            with pytest.raises(NodeError, match=reason):
                list(generation)

"""Two real workers under whatever comes in whatever order: they never crash nor mix texts up.

Loading, older and newer epochs, unloading, sessions that come while another one runs, rests or was
left, steps of several texts, texts taken back, copied and ended, chunks that are not wanted any
more, and steps that no coordinator of ours would send. After each the logits are those of an
undisturbed stage that was given the same text, to the bit.
"""

import functools
import itertools

import grpc
import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from pi_cluster.cluster import settings as limits
from pi_cluster.cluster.errors import ClusterError, NodeLost, StaleEpoch
from pi_cluster.cluster.wire.client import NodeClient
from tests.support.cluster_process import eventually
from tests.support.raw_session import RawSession, logits_of
from tests.support.worker_servers import LIMITS, PLAIN, load_stage, pipeline

BOUNDS = [0, 3, 6]
LONGEST = 30  # shorter than the window: any of it can be taken back
IDS = st.lists(st.integers(3, 129), min_size=1, max_size=6)
MOST = LIMITS.max_sequences


class Workers:
    """Two stages, the store that they serve, and what an undisturbed stage says of any text."""

    def __init__(self, store, stages, reference):
        self.store, self.stages = store, stages
        self.epochs = itertools.count(100)
        self.sequences = itertools.count(1)
        self._reference = reference
        self.logits = functools.cache(self._logits)

    def _logits(self, text):
        """Of the last row."""
        sequence = next(self.sequences)
        came = self._reference.step((sequence, 0, text))
        self._reference.end(sequence)
        return came[sequence, len(text) - 1]

    def load(self, epoch):
        first, second = self.stages
        load_stage(self.store, second, None, epoch)
        load_stage(self.store, first, second, epoch)

    def unload(self, epoch):
        for stage in self.stages:
            with NodeClient(stage.peer, PLAIN) as client:
                client.unload_stage(epoch)

    def statuses(self):
        found = []
        for stage in self.stages:
            with NodeClient(stage.peer, PLAIN) as client:
                found.append(client.describe().stage)
        return found


class WorkerStates(RuleBasedStateMachine):
    """What a coordinator may do, and what it should not; beside it, what must come of that."""

    workers: Workers

    def __init__(self):
        super().__init__()
        self.epoch = 0
        self.is_loaded = False
        self.session = None
        self.is_resting = False
        self.texts = {}
        # Its own, so that the same example draws the same: draws may not depend on what ran before.
        self.sequences = itertools.count(1)

    @initialize()
    def begin(self):
        self.load()

    @rule()
    def load(self):
        """Whatever runs ends, and its caches with it."""
        self.epoch = next(self.workers.epochs)
        self.workers.load(self.epoch)
        self.is_loaded = True
        self.ended()

    @rule(behind=st.integers(1, 3))
    @precondition(lambda self: self.is_loaded)
    def load_an_older_epoch(self, behind):
        """Nothing changes, and a session goes on."""
        with pytest.raises(StaleEpoch):
            self.workers.load(self.epoch - behind)

    @rule()
    def unload(self):
        self.workers.unload(self.epoch)
        self.is_loaded = False
        self.ended()

    @rule()
    @precondition(lambda self: self.is_loaded)
    def unload_an_older_epoch(self):
        with pytest.raises(StaleEpoch):
            self.workers.unload(self.epoch - 1)

    @rule()
    def open(self):
        """A session gives way if it rests; where one runs or nothing is loaded there is none."""
        may_open = self.is_loaded and (self.session is None or self.is_resting)
        if not self.is_loaded:
            with pytest.raises(grpc.RpcError):  # also of its results there are none
                RawSession(self.workers.stages, epoch=self.epoch)
            return
        session = RawSession(self.workers.stages, epoch=self.epoch)
        first = next(self.sequences)
        if not may_open:
            with session, pytest.raises(NodeLost):
                session.step((first, 0, [3]))
            return
        self.ended()
        self.session = session
        self.extend_and_compare(first, 0, [3])

    @rule(epochs=st.integers(-2, 2).filter(bool))
    def open_another_epoch(self, epochs):
        with pytest.raises(grpc.RpcError):
            RawSession(self.workers.stages, epoch=self.epoch + epochs)

    @rule(ids=IDS)
    @precondition(lambda self: self.session and len(self.texts) < MOST - 1)
    def begin_text(self, ids):
        self.extend_and_compare(next(self.sequences), 0, ids)

    @rule(data=st.data(), ids=IDS)
    @precondition(lambda self: self.session and self.texts)
    def go_on_or_take_back(self, data, ids):
        sequence = data.draw(st.sampled_from(sorted(self.texts)))
        start = data.draw(st.integers(0, min(len(self.texts[sequence]), LONGEST - len(ids))))
        self.extend_and_compare(sequence, start, ids)

    @rule(data=st.data(), ids=IDS)
    @precondition(lambda self: self.session and self.texts and len(self.texts) < MOST - 1)
    def copy_a_beginning(self, data, ids):
        whose = data.draw(st.sampled_from(sorted(self.texts)))
        longest = min(len(self.texts[whose]), LONGEST - len(ids))
        start = data.draw(st.integers(1, longest)) if longest > 0 else 0
        if not start:
            return
        sequence = next(self.sequences)
        came = self.session.fork(sequence, start, ids, prefix_of=whose)
        self.compare(sequence, [*self.texts[whose][:start], *ids], came)

    @rule(data=st.data())
    @precondition(lambda self: self.session and self.texts)
    def end_a_text(self, data):
        sequence = data.draw(st.sampled_from(sorted(self.texts)))
        self.session.end(sequence)
        del self.texts[sequence]
        self.is_resting = False

    @rule(data=st.data(), ids=IDS)
    @precondition(lambda self: self.session and self.texts)
    def guess_and_supersede(self, data, ids):
        """What is not wanted may come or not; what is sent behind it is as if it had not been."""
        sequence = data.draw(st.sampled_from(sorted(self.texts)))
        start = min(len(self.texts[sequence]), LONGEST - len(ids))
        guess = self.session.send((sequence, start, ids))
        self.session.supersede(sequence, guess + 1)
        self.is_resting = False
        self.texts[sequence] = self.texts[sequence][:start]
        self.extend_and_compare(sequence, start, ids[::-1], skip=guess)

    @rule()
    @precondition(lambda self: self.session)
    def rest(self):
        self.session.rest()
        # The stage takes it on a thread of its own, behind which nothing else comes.
        self.is_resting = True

    @rule(ids=IDS)
    @precondition(lambda self: self.session and self.texts)
    def send_what_no_coordinator_sends(self, ids):
        """A text that goes on beyond its end ends the session, with a reason."""
        sequence = min(self.texts)
        self.session.send((sequence, len(self.texts[sequence]) + 1, ids))
        with pytest.raises(ClusterError):
            self.session.failure()
        self.ended()

    @rule()
    @precondition(lambda self: self.session)
    def leave(self):
        """As a coordinator that ends well."""
        self.session.close()
        self.ended()

    @rule()
    @precondition(lambda self: self.session)
    def vanish(self):
        """As one that is killed: its streams break."""
        self.ended()
        eventually(self.workers.statuses, lambda seen: not any(one.coordinator for one in seen))

    @rule()
    def look(self):
        seen = self.workers.statuses()
        assert [one.epoch for one in seen] == [self.epoch if self.is_loaded else 0] * 2
        if not self.session:
            eventually(self.workers.statuses, lambda now: not any(one.sequences for one in now))

    def teardown(self):
        self.ended()

    def extend_and_compare(self, sequence, start, ids, skip=None):
        number = self.session.send((sequence, start, ids))
        result = self.session.receive()
        if result.step == skip:
            result = self.session.receive()
        assert result.step == number
        text = [*self.texts.get(sequence, [])[:start], *ids]
        self.compare(sequence, text, logits_of(result))

    def compare(self, sequence, text, came):
        self.is_resting = False
        assert {number for number, _ in came} == {sequence}
        last = came[sequence, len(text) - 1]
        assert np.array_equal(last, self.workers.logits(tuple(text)))
        self.texts[sequence] = text

    def ended(self):
        """Our side of a session lets go of it, whoever ended it."""
        if self.session:
            self.session.__exit__()
        self.session, self.is_resting, self.texts = None, False, {}


def test_workers_neither_crash_nor_mix_texts_up(random_store, tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "BUSY_WAIT_S", 0.3)
    with (
        pipeline(random_store, BOUNDS, tmp_path / "two") as stages,
        pipeline(random_store, [0, 6], tmp_path / "one") as alone,
        RawSession(alone) as reference,
    ):
        workers = Workers(random_store, stages, reference)
        machine = type("WorkerStates", (WorkerStates,), {"workers": workers})
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=30,
                stateful_step_count=25,
                suppress_health_check=list(HealthCheck),
            ),
        )

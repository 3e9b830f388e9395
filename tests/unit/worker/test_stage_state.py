"""The states of a stage, and who may use it: what follows what, and who waits for whom."""

import functools
import queue
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import pytest

from pi_cluster.cluster import settings
from pi_cluster.cluster.errors import NodeError, PipelineBusy, ShardDamaged, StaleEpoch, StoreError
from pi_cluster.cluster.layer_range import LayerRange
from pi_cluster.protos import pi_cluster_pb2 as pb
from pi_cluster.transformer.limits import Limits
from pi_cluster.worker.shards.vault import ShardVault
from pi_cluster.worker.stage.assignment import Assignment
from pi_cluster.worker.stage.loading import load_stage
from pi_cluster.worker.stage.outlet import ResultSink
from pi_cluster.worker.stage.session import StageSession
from pi_cluster.worker.stage.state import Loaded, RunningSession, StageState, Withdrawn
from tests.support.checkpoints import small_config, write_hugging_face_checkpoint
from tests.support.cluster_process import eventually
from tests.support.kernel_engines import engine
from tests.support.stores import shard

EPOCH = 3
LIMITS = Limits(max_step_rows=16, max_sequences=1, context=64, cache_positions=64)
BOUND_S = 30.0
REASON = "layer-00.safetensors on pi2 is damaged"


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    """Loads a whole small model, for an epoch."""
    folder = tmp_path_factory.mktemp("state")
    write_hugging_face_checkpoint(folder / "c", small_config(n_layers=1))
    manifest = shard(folder / "c", folder / "s", "q4")
    vault = ShardVault(folder / "v")
    for file in manifest.files:
        vault.receive(file.sha256, file.size_bytes, 0, [(folder / "s" / file.name).read_bytes()])
    map_stage = functools.partial(load_stage, files=vault, engine=engine())

    def loaded(epoch: int) -> Loaded:
        layers = LayerRange(0, 1)
        assignment = Assignment(epoch, manifest, layers, LIMITS, None, "")
        files = tuple(manifest.stage_files(0, 1))
        return Loaded(assignment, map_stage(manifest, layers, LIMITS), files)

    return loaded


@pytest.fixture
def state(load):
    """A stage that is loaded."""
    made = StageState()
    with made.replacing(EPOCH):
        made.put(load(EPOCH), sound)
    return made


def sound(files: object) -> None:
    """All files are right."""


@contextmanager
def passing(state: StageState, loaded: Loaded | None = None) -> Iterator[StageSession]:
    """A session that has the slot."""
    with state.turn():
        loaded = loaded or state.loaded(EPOCH)
        session = StageSession(loaded.stage.stage, state.rested)
        running = RunningSession("s", "ann@laptop", session, ResultSink())
        with state.passing(running, loaded):
            yield session


def ended(session: StageSession) -> NodeError:
    """Why a session has ended, which is known at once."""
    with pytest.raises(NodeError) as end:
        session.run(iter(()), ResultSink())
    return end.value


def test_without_a_stage_sessions_are_refused():
    state = StageState()
    assert state.content is None and state.glance() is None
    with pytest.raises(StaleEpoch, match="no stage is loaded here"):
        state.loaded(EPOCH)


def test_a_stage_serves_its_own_epoch_alone(state):
    assert state.loaded(EPOCH) is state.content
    with pytest.raises(StaleEpoch, match="epoch 3 is served here, not 4"):
        state.loaded(EPOCH + 1)


def test_while_a_stage_is_replaced_nothing_is_loaded_and_when_that_fails_nothing_stays(state, load):
    def damaged(files: object) -> None:
        raise StoreError("damaged")

    with pytest.raises(StoreError, match="damaged"), state.replacing(EPOCH + 1):
        assert state.content is None
        state.put(load(EPOCH + 1), damaged)
    assert state.content is None
    with state.alone():  # the slot is free again
        pass


def test_an_earlier_epoch_replaces_nothing_and_the_same_one_does(state, load):
    with pytest.raises(StaleEpoch, match="of a later `up` than epoch 2"), state.replacing(2):
        pass
    assert isinstance(state.content, Loaded)
    with state.replacing(EPOCH):
        assert state.content is None


def test_two_plans_of_one_epoch_do_not_mix(state, load):
    """Machines that mend a pipeline at once may choose the same number for different stages."""
    loaded = state.loaded(EPOCH).assignment
    others = replace(loaded, previous_node_id="pi9")
    with pytest.raises(StaleEpoch, match="already, of another"), state.replacing(EPOCH, others):
        pass
    assert state.loaded(EPOCH).assignment is loaded
    with state.replacing(EPOCH, replace(loaded)):
        assert state.content is None


def test_of_two_replacements_at_once_the_later_epoch_stays(state, load):
    """Both were asked for while neither was loaded."""
    with ThreadPoolExecutor(1) as pool:
        began = threading.Event()

        def replace_it() -> None:
            began.set()
            with state.replacing(EPOCH + 1):
                pytest.fail("it takes the place of a later one")

        with state.replacing(EPOCH + 2):
            earlier = pool.submit(replace_it)
            assert began.wait(BOUND_S)
            eventually(lambda: len(state._changed._waiters), bool, BOUND_S)
            state.put(load(EPOCH + 2), sound)
        with pytest.raises(StaleEpoch, match="of a later `up`"):
            earlier.result(BOUND_S)
    assert state.loaded(EPOCH + 2)
    with state.alone():  # the slot is free again
        pass


def test_a_replacement_ends_the_session_and_waits_until_it_has_let_go(state, load):
    began, messages = threading.Event(), queue.SimpleQueue[pb.StepMessage | None]()

    def run() -> None:
        with passing(state) as session:
            began.set()
            session.run(iter(messages.get, None), ResultSink())

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run)
        assert began.wait(BOUND_S)
        with state.replacing(EPOCH + 1):
            assert state.running is None
            state.put(load(EPOCH + 1), sound)
        messages.put(None)
        with pytest.raises(StaleEpoch, match="replaced by another `up`"):
            running.result(BOUND_S)
    assert state.loaded(EPOCH + 1)


def test_a_withdrawal_ends_the_session_without_waiting_for_it(state):
    first = state.loaded(EPOCH)
    with passing(state) as session:
        assert state.withdraw(first.files[1].sha256, REASON) is first.assignment
        assert isinstance(state.content, Withdrawn) and state.running is not None
        assert isinstance(ended(session), ShardDamaged)
    with pytest.raises(ShardDamaged, match=REASON):
        state.loaded(EPOCH)


def test_a_shard_that_the_stage_does_not_map_withdraws_nothing(state):
    assert state.withdraw("0" * 64, REASON) is None
    assert isinstance(state.content, Loaded)


def test_a_session_whose_stage_was_withdrawn_before_it_could_pass_ends_with_the_reason(state):
    first = state.loaded(EPOCH)
    state.withdraw(first.files[0].sha256, REASON)
    with passing(state, first) as session:
        assert str(ended(session)) == REASON


def test_what_was_withdrawn_is_mended_unless_another_took_its_place(state, load):
    first = state.loaded(EPOCH)
    state.withdraw(first.files[0].sha256, REASON)
    with state.mending(replace(first.assignment)) as is_wanted:
        assert not is_wanted
    with state.mending(first.assignment) as is_wanted:
        assert is_wanted
        state.put(load(EPOCH), sound)
    with state.mending(first.assignment) as is_wanted:
        assert not is_wanted


def test_steps_of_sessions_that_have_ended_stay_counted(state):
    step = pb.Step(
        step=1, chunks=[pb.Chunk(sequence=1, start=0, rows=2)], ids=pb.TokenIds(id=[1, 2])
    )
    for _ in range(2):
        with passing(state) as session:
            assert state.glance().coordinator == "ann@laptop"
            session.run(iter([pb.StepMessage(step=step)]), ResultSink())
    seen = state.glance()
    assert (seen.steps, seen.rows, seen.coordinator) == (2, 4, "")


def test_nobody_measures_beside_a_session_and_no_session_begins_meanwhile(state, monkeypatch):
    monkeypatch.setattr(settings, "BUSY_WAIT_S", 0.01)
    with (
        passing(state),
        pytest.raises(PipelineBusy, match="computes for ann@laptop"),
        state.alone(),
    ):
        pass
    with (
        state.alone(),
        pytest.raises(PipelineBusy, match="answering another coordinator"),
        passing(state),
    ):
        pass


def test_a_session_that_rests_gives_way_to_the_next(state, monkeypatch):
    monkeypatch.setattr(settings, "BUSY_WAIT_S", BOUND_S)
    messages = queue.SimpleQueue[pb.StepMessage | None]()
    with ThreadPoolExecutor(1) as pool:
        began = threading.Event()

        def run() -> None:
            with passing(state) as session:
                began.set()
                session.run(iter(messages.get, None), ResultSink())

        running = pool.submit(run)
        assert began.wait(BOUND_S)
        messages.put(pb.StepMessage(rest=pb.Rest()))
        with passing(state):
            messages.put(None)
            assert "another coordinator took the pipeline" in str(running.exception(BOUND_S))

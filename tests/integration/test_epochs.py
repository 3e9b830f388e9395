"""A worker serves one epoch of one pipeline; whoever speaks of another one is told so."""

import pytest

from pi_cluster.cluster.errors import StaleEpoch
from pi_cluster.cluster.wire.client import NodeClient
from pi_cluster.coordinator.session import Session
from pi_cluster.coordinator.steps import StepChunk
from tests.support.worker_servers import EPOCH, PLAIN, load_stage, pipeline


@pytest.fixture
def stages(random_store, tmp_path):
    with pipeline(random_store, [0, 2, 6], tmp_path) as served:
        yield served


def steps_of(session, count, sequence=1):
    for position in range(count):
        session.submit([StepChunk(sequence, position, [5], logit_rows=1)])
        session.next_result()
    return count


@pytest.mark.parametrize("epoch", [EPOCH - 1, EPOCH + 1])
def test_steps_of_another_epoch_are_refused(stages, epoch):
    with pytest.raises(StaleEpoch, match=str(EPOCH)), Session(stages, epoch, 130, PLAIN) as session:
        steps_of(session, 1)
    with Session(stages, EPOCH, 130, PLAIN) as session:
        assert steps_of(session, 2) == 2


def test_an_older_epoch_neither_replaces_nor_unloads_a_newer_one(stages, random_store):
    with pytest.raises(StaleEpoch, match=f"{EPOCH} is served"):
        load_stage(random_store, stages[0], stages[1], EPOCH - 1)
    with NodeClient(stages[0].peer, PLAIN) as client, pytest.raises(StaleEpoch):
        client.unload_stage(EPOCH - 1)
    with Session(stages, EPOCH, 130, PLAIN) as session:
        assert steps_of(session, 2) == 2


@pytest.mark.parametrize("index", [0, 1])
def test_a_newer_epoch_on_any_stage_ends_the_session_that_runs(stages, random_store, index):
    following = [*stages[1:], None][index]
    with pytest.raises(StaleEpoch), Session(stages, EPOCH, 130, PLAIN) as session:
        steps_of(session, 2)
        load_stage(random_store, stages[index], following, EPOCH + 1)
        steps_of(session, 1, sequence=2)
    for stage in stages:
        with NodeClient(stage.peer, PLAIN) as client:
            assert client.describe().stage.cache_bytes == 0


def test_an_unloaded_stage_says_so(stages):
    with NodeClient(stages[1].peer, PLAIN) as client:
        client.unload_stage(EPOCH)
        assert not client.describe().HasField("stage")
    with (
        pytest.raises(StaleEpoch, match="no stage is loaded here"),
        Session(stages, EPOCH, 130, PLAIN) as session,
    ):
        steps_of(session, 1)

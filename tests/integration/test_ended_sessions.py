"""Nothing keeps a session that has ended, nor the stage that it used: not even until Python looks
for garbage, which an idle worker does not do for hours."""

import gc

import pytest

from pi_cluster.worker.stage.session import StageSession
from tests.support.cluster_process import eventually
from tests.support.raw_session import RawSession
from tests.support.worker_servers import EPOCH, load_stage, pipeline

TEXT = [1, *range(40)]


@pytest.fixture
def stages(random_store, tmp_path):
    with pipeline(random_store, [0, 2, 4, 6], tmp_path) as served:
        yield served


@pytest.fixture(autouse=True)
def no_garbage_collection():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def sessions():
    return [one for one in gc.get_objects() if isinstance(one, StageSession)]


def close(line, stages, store):
    line.close()


def break_off(line, stages, store):
    pass  # leaving the block does it


def load_the_first_anew(line, stages, store):
    load_stage(store, stages[0], stages[1], EPOCH + 1)


def load_the_last_anew(line, stages, store):
    load_stage(store, stages[-1], None, EPOCH + 1)


def send_what_is_refused(line, stages, store):
    line.send((1, len(TEXT) + 5, [5]))
    with pytest.raises(Exception, match="goes on at position"):
        line.failure()


@pytest.mark.parametrize(
    "end",
    [close, break_off, load_the_first_anew, load_the_last_anew, send_what_is_refused],
)
def test_a_session_that_has_ended_is_gone(stages, random_store, end):
    with RawSession(stages) as line:
        line.step((1, 0, TEXT))
        assert len(sessions()) == len(stages)
        end(line, stages, random_store)
    # A count alone: a list of them would keep them.
    eventually(lambda: len(sessions()), lambda left: left == 0)

"""A stage is free again however its session ends, also when both ends of it go at once."""

import grpc

from tests.support.raw_session import RawSession
from tests.support.worker_servers import pipeline

TIMES = 60  # what went wrong here did so about every tenth time


def test_a_coordinator_that_goes_as_it_ends_its_steps_leaves_no_stage_waiting_for_the_next(
    random_store, tmp_path
):
    with pipeline(random_store, [0, 2, 6], tmp_path) as stages:
        for _ in range(TIMES):
            # Raises PipelineBusy where a stage still waits for the end of the one before.
            with RawSession(stages) as line:
                line.step((1, 0, [5]))
                line.end_steps()
                line.stop_collecting()
                try:
                    line.inlet.result(timeout=10)
                except grpc.RpcError as error:
                    assert "does not collect results any more" in error.details()

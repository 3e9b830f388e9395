"""Stages that are loaded for long: a node that answers meanwhile is waited for, no other one is."""

import itertools
import signal
import threading
from unittest import mock

import pytest

from pi_cluster.cluster.errors import NodeLost
from pi_cluster.cluster.wire.attended import attended
from pi_cluster.cluster.wire.peer import Peer
from tests.support.cluster_process import processes_of
from tests.support.preloads import stopped_at
from tests.support.relay import relaying
from tests.support.worker_servers import PLAIN

LONG = ("--max-tokens", "1200")
HEALED_S = 60.0  # half of what a load may take


@pytest.fixture
def three(make_cluster, tmp_path):
    """Two workers, one that stops at its next load once a file is there, and that file."""
    with make_cluster() as cluster:
        moment = tmp_path / "stage.pb"  # a worker forgets what it served, and loads then
        workers = {name: cluster.start_worker(name) for name in ("one", "two")}
        with mock.patch.dict(cluster.env, stopped_at(tmp_path, moment)):
            workers["three"] = cluster.start_worker("three")
        cluster.up("--nodes", ",".join(address for _, address in workers.values()))
        yield cluster, workers, moment
        for process in processes_of(cluster.folder):
            process.send_signal(signal.SIGCONT)


def test_a_node_that_freezes_while_a_heal_loads_it_is_done_without_as_well(
    three, endless, shared_story
):
    cluster, workers, moment = three
    running = cluster.start("prompt", *endless, *LONG)
    running.read(50)
    moment.touch()
    workers["one"][0].send(signal.SIGKILL)
    outcome = running.end(HEALED_S)
    undisturbed = shared_story.call("prompt", *endless, *LONG).out
    assert (outcome.code, outcome.out) == (0, undisturbed), outcome.err
    assert [one.name for one in cluster.record().addresses] == ["two"]

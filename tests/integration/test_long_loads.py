"""Stages that are loaded for long: a node that answers meanwhile is waited for, no other one is."""

import itertools
import signal
import threading
from unittest import mock

import pytest

from pi_cluster.cluster import settings
from pi_cluster.cluster.errors import NodeLost
from pi_cluster.cluster.wire.attended import attended
from pi_cluster.cluster.wire.load_request import load_request
from pi_cluster.protos import pi_cluster_pb2 as pb
from pi_cluster.worker.stage.host import StageHost
from pi_cluster.worker.stage.sessions import Sessions
from tests.support.cluster_process import processes_of
from tests.support.preloads import stopped_at
from tests.support.worker_servers import EPOCH, LIMITS, PLAIN, pipeline

LONG = ("--max-tokens", "1200")
HEALED_S = 60.0  # a tenth of what a load may take
SILENT_S = 2.0


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
    assert "three" in outcome.err and "another machine" not in outcome.err


@pytest.fixture
def loading(random_store, tmp_path, monkeypatch):
    """A node whose next load ends when it is told to, how that is told, and the request."""
    may_end, load = threading.Event(), StageHost.load

    def held(self, assignment):
        assert may_end.wait(HEALED_S)
        return load(self, assignment)

    with pipeline(random_store, [0, 6], tmp_path) as (stage,):
        monkeypatch.setattr(StageHost, "load", held)
        request = load_request(EPOCH + 1, random_store.manifest, stage.layers, LIMITS, None)
        yield stage, may_end, request
        may_end.set()


def test_a_load_may_take_longer_than_a_silence_where_the_node_answers_beside_it(
    loading, monkeypatch
):
    stage, may_end, request = loading
    asked, ping = itertools.count(1), Sessions.ping

    def counted(self, name):
        if next(asked) * settings.ASK_EVERY_S > 2 * SILENT_S:
            may_end.set()
        return ping(self, name)

    monkeypatch.setattr(Sessions, "ping", counted)
    with attended(stage.peer, PLAIN, SILENT_S) as client:
        assert client.load_stage(request) > 0


def test_a_load_is_broken_off_where_the_node_is_silent_beside_it(loading, monkeypatch):
    stage, may_end, request = loading

    def silent(self, name):
        may_end.wait(HEALED_S)
        return pb.PingReply()

    monkeypatch.setattr(Sessions, "ping", silent)
    told = pytest.raises(NodeLost, match=rf"{stage.name} .*has not answered for")
    with told as lost, attended(stage.peer, PLAIN, SILENT_S) as client:
        client.load_stage(request)
    assert lost.value.node_ids == (stage.node_id,) and lost.value.was_awaited

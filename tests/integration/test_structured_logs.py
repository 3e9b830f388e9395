"""Logs for programs: what workers and a server write is JSON to the last line, without a text."""

import json
import signal

import pytest

from pi_cluster.cluster.errors import StaleEpoch
from pi_cluster.cluster.wire.client import NodeClient
from pi_cluster.cluster.wire.peer import Peer
from tests.support.cluster_process import eventually
from tests.support.event_stream import parse, posting
from tests.support.servers import serving
from tests.support.worker_servers import PLAIN

SECRET = "the quick brown fox has a secret"
ASKED = {"prompt": SECRET, "temperature": 0, "max_tokens": 24}


@pytest.fixture
def logging_cluster(cluster):
    """A server over two workers, all of which log JSON; with what each has written."""
    workers = [cluster.start_worker(name, "--log-format", "json") for name in ("one", "two")]
    cluster.up("--nodes", ",".join(address for _, address in workers))
    with serving(cluster, "--log-format", "json") as server:
        yield server, [running for running, _ in workers]


def lines_of(running):
    """Its log so far: whatever stands there is an object a line."""
    return [json.loads(line) for line in running.error_text.split("\n")[:-1]]


def with_message(running, beginning):
    def look():
        return [line for line in lines_of(running) if line["message"].startswith(beginning)]

    return eventually(look, bool)[-1]


def ask(server, **more):
    with posting(server, "/v1/completions", ASKED | more) as response:
        return json.loads(response.read())


def test_a_session_is_found_by_its_name_in_the_logs_of_all_who_took_part(logging_cluster):
    server, workers = logging_cluster
    text = ask(server)["choices"][0]["text"]
    begun = with_message(server.running, "a session begins")
    for running, name in zip(workers, ("one", "two"), strict=True):
        line = with_message(running, "a session begins")
        assert (line["session"], line["epoch"]) == (begun["session"], begun["epoch"])
        assert line["node"] == name and "@" in line["caller"]
        assert with_message(running, "epoch ")["epoch"] == begun["epoch"]
    request = with_message(server.running, "127.0.0.1 - POST /v1/completions")
    assert (request["method"], request["status"], request["finish"]) == ("POST", 200, "length")
    assert (request["path"], request["generated_tokens"]) == ("/v1/completions", 24)
    assert request["seconds"] > 0 and request["logger"] == "pi_cluster.server.journal"
    for running in (server.running, *workers):
        assert SECRET not in running.error_text and text not in running.error_text


def test_what_was_lost_and_what_came_of_it_is_an_object_too(logging_cluster):
    server, workers = logging_cluster
    asked = ASKED | {"max_tokens": 2_000, "stream": True}
    with posting(server, "/v1/completions", asked) as response:
        assert next(parse(response))["choices"]
        workers[1].send(signal.SIGKILL)
        lost = with_message(server.running, "the session is lost")
        begun = with_message(workers[0], "a session begins")
        assert (lost["session"], lost["epoch"]) == (begun["session"], begun["epoch"])
        assert lost["step"] > 0
        ended = with_message(workers[0], "a session has ended")
        assert (ended["session"], ended["level"]) == (lost["session"], "info")
        assert 0 < ended["step"] <= lost["step"]
        told = with_message(server.running, "two stopped answering")
        assert (told["logger"], told["level"]) == ("pi_cluster.deploy.server_log", "info")
        # What a person would be told is a line like the others.
        told = with_message(server.running, "note: serving on ")
        assert told["logger"] == "stderr"
    for running in (server.running, workers[0]):
        assert SECRET not in running.error_text


def test_a_server_that_is_stopped_ends_its_log_with_an_object(logging_cluster):
    server, _ = logging_cluster
    server.running.send(signal.SIGTERM)
    assert server.running.end().code in (0, -signal.SIGTERM)
    assert lines_of(server.running) and server.running.error_text.endswith("}\n")


def test_a_refused_call_tells_its_caller_and_its_epoch(cluster, logging_cluster):
    _, workers = logging_cluster
    address = cluster.record().addresses[0].address
    with NodeClient(Peer(address), PLAIN) as client, pytest.raises(StaleEpoch):
        client.unload_stage(0)
    refused = with_message(workers[0], "UnloadStage refused")
    assert refused["epoch"] == 0 and "127.0.0.1" in refused["caller"]

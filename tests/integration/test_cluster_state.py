"""How the cluster is, as a server tells it: live, to many, through losses and a new epoch."""

import http.client
import json
import signal
import threading
import urllib.request
from contextlib import ExitStack, contextmanager

import pytest

from tests.support.asking import ENDLESS_IDS, FOX
from tests.support.cluster_process import eventually
from tests.support.event_stream import Comment, parse, posting
from tests.support.servers import serving

STATE = "/cluster/v1/state"
PLACES = 8  # texts as long as these that the caches of the shared server hold at once
TALK = {"prompt": ENDLESS_IDS, "temperature": 0, "repeat_penalty": 1e9, "stream": True}
LONG = TALK | {"max_tokens": 4000}


def get(server, path):
    with urllib.request.urlopen(f"{server.url}{path}", timeout=20) as response:
        return response.read().decode()


def state_of(server):
    return json.loads(get(server, STATE))


def metrics_of(server):
    lines = get(server, "/metrics").splitlines()
    return dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))


def await_nobody(server):
    """Until all who came before are gone, and so counted: other tests share the server."""
    named = [f"pi_cluster_requests_{where}" for where in ("running", "waiting")]
    eventually(
        lambda: metrics_of(server), lambda metrics: all(metrics[name] == "0.0" for name in named)
    )


def left_of(server):
    name = 'pi_cluster_requests_total{api="openai",finish_reason="left"}'
    return float(metrics_of(server).get(name, 0))


def whole(server, path, asked):
    with posting(server, path, asked | {"stream": False}) as response:
        return json.loads(response.read())


class Following:
    """Reads the stream of states on a thread, up to its end."""

    def __init__(self, response):
        self.seen = []
        self.failure = None
        self._thread = threading.Thread(target=self._read, args=(response,))
        self._thread.start()

    def _read(self, response):
        try:
            for state in parse(response):
                self.seen.append(state)
        except (OSError, http.client.HTTPException, ValueError, AssertionError) as failure:
            self.failure = failure

    def until(self, holds):
        """The first state from now on that is so."""
        begin = len(self.seen)
        seen = eventually(lambda: self.seen[begin:], lambda new: any(map(holds, new)), 40)
        return next(filter(holds, seen))

    def end(self):
        self._thread.join(20)
        assert not self._thread.is_alive()


@contextmanager
def following(server):
    connection = http.client.HTTPConnection(server.host, server.port, timeout=40)
    try:
        connection.request("GET", f"{STATE}?stream=1")
        response = connection.getresponse()
        assert response.headers["content-type"].startswith("text/event-stream")
        follower = Following(response)
        yield follower
        if connection.sock:
            connection.sock.shutdown(2)
        follower.end()
    finally:
        connection.close()


@pytest.fixture(scope="module")
def hand_made(make_cluster):
    """Three workers that can be killed and started again, their cluster, and its server."""
    with make_cluster() as cluster:
        names = ("one", "two", "three")
        workers = {name: cluster.start_worker(name) for name in names}
        cluster.up("--nodes", ",".join(address for _, address in workers.values()))
        with serving(cluster) as server:
            yield cluster, workers, server


def kill(running):
    running.send(signal.SIGKILL)
    running.process.wait()


def start_again(cluster, name, address):
    words = ("--listen", address, "--no-mdns", "--name", name)
    running = cluster.start("worker", *words, "--data-dir", str(cluster.folder / name))
    assert running.read_line().startswith("ready ")
    return running


def test_it_is_told_once_and_has_what_the_nodes_report(served_story):
    state, record = state_of(served_story), served_story.cluster.record()
    assert state["cluster"] == served_story.cluster.name and state["epoch"] == record.epoch
    assert (state["condition"], state["note"]) == ("ready", "")
    assert state["model"]["id"] == json.loads(get(served_story, "/v1/models"))["data"][0]["id"]
    assert [stage["node"] for stage in state["stages"]] == [one.name for one in record.addresses]
    layers = [layer for stage in state["stages"] for layer in range(*stage["layers"])]
    assert layers == list(range(state["model"]["layers"]))
    for stage in state["stages"]:
        assert stage["is_well"] and 0 < stage["free_memory_bytes"] < stage["memory_bytes"]
        assert stage["stage_bytes"] > 0 and "address" not in stage


def test_what_is_computed_shows_as_loads_rates_and_tokens(served_story):
    with following(served_story) as follower, ExitStack() as entered:
        idle = follower.until(lambda state: not state["requests"]["running"])
        for _ in range(2):
            entered.enter_context(posting(served_story, "/v1/completions", LONG))
        busy = follower.until(
            lambda state: all((stage["load"] or 0) > 0.01 for stage in state["stages"])
        )
        assert busy["requests"]["running"] == 2
        assert all(stage["rows_ps"] > 0 and stage["load"] <= 1 for stage in busy["stages"])
        later = follower.until(lambda state: state["unix_s"] > busy["unix_s"])
        assert later["tokens"]["generated"] > busy["tokens"]["generated"]
        assert busy["tokens"]["prompt"] > idle["tokens"]["prompt"]
        metrics = metrics_of(served_story)
    for node in (stage["node"] for stage in busy["stages"]):
        assert float(metrics[f'pi_cluster_stage_compute_seconds_total{{node="{node}"}}']) > 0
        assert float(metrics[f'pi_cluster_stage_idle_seconds_total{{node="{node}"}}']) > 0
    positions = float(metrics["pi_cluster_cache_positions"])
    assert 0 < float(metrics["pi_cluster_cache_positions_used"]) <= positions
    info = next(name for name in metrics if name.startswith("pi_cluster_pipeline_info"))
    assert f'model="{busy["model"]["id"]}"' in info and 'stages="2"' in info


def test_who_waits_is_told_its_place_and_counted_apart_from_who_runs(served_story):
    await_nobody(served_story)
    before = left_of(served_story)
    with ExitStack() as entered:
        for _ in range(PLACES):
            talking = entered.enter_context(posting(served_story, "/completions", LONG))
            assert next(parse(talking))["choices"]
        waiting = entered.enter_context(
            posting(served_story, "/completions", TALK | {"max_tokens": 500}, progress=True)
        )
        told = next(parse(waiting))
        assert isinstance(told, Comment) and told.text.startswith("waiting 0")
        metrics, health = metrics_of(served_story), json.loads(get(served_story, "/health"))
        assert metrics["pi_cluster_requests_waiting"] == "1.0"
        assert metrics["pi_cluster_requests_running"] == f"{PLACES}.0"
        assert (health["status"], health["running"], health["waiting"]) == ("ok", PLACES, 1)
        assert state_of(served_story)["requests"]["waiting"] == 1
    # Routes without /v1 are OpenAI's too.
    eventually(lambda: left_of(served_story), lambda left: left == before + PLACES + 1)


def test_a_killed_worker_is_seen_lost_healed_and_back(hand_made):
    cluster, workers, server = hand_made
    running, address = workers["two"]
    before = whole(server, "/v1/completions", {"prompt": FOX, "max_tokens": 12, "temperature": 0})
    with following(server) as follower:
        follower.until(lambda state: state["condition"] == "ready")
        kill(running)
        lost = follower.until(lambda state: state["condition"] == "lost")
        stage = next(one for one in lost["stages"] if one["node"] == "two")
        assert (stage["state"], stage["is_well"], stage["load"]) == ("lost", False, None)
        assert stage["memory_bytes"] is None and "two" in lost["note"] and "`" in lost["note"]
        asked = {"prompt": FOX, "max_tokens": 12, "temperature": 0, "stream": True}
        with posting(server, "/v1/completions", asked, progress=True) as response:
            events = parse(response)
            held = next(told for told in events if told.text.startswith("held "))
            assert "two" in held.text
            assert follower.until(lambda state: state["condition"] == "healing")["note"]
            workers["two"] = start_again(cluster, "two", address), address
            follower.until(lambda state: state["condition"] == "ready")
            after = [told["choices"][0]["text"] for told in events if hasattr(told, "get")]
    assert "".join(after) == before["choices"][0]["text"]
    metrics = metrics_of(server)
    assert metrics['pi_cluster_heals_total{kind="node_lost"}'] == "1.0"
    asked_twice = 2 * before["usage"]["prompt_tokens"]
    assert float(metrics["pi_cluster_prompt_tokens_total"]) == asked_twice, "however often tried"


def test_a_new_epoch_is_followed(hand_made):
    cluster, workers, server = hand_made
    with following(server) as follower:
        first = follower.until(lambda state: state["condition"] == "ready")
        addresses = [workers[name][1] for name in ("two", "three")]
        cluster.up("--nodes", ",".join(addresses))
        second = follower.until(lambda state: len(state["stages"]) == 2)
        assert second["epoch"] > first["epoch"] and second["condition"] == "ready"
    whole(server, "/v1/completions", {"prompt": FOX, "max_tokens": 2})
    assert cluster.run("down").code == 0
    gone = eventually(lambda: state_of(server), lambda state: not state["stages"])
    assert gone["condition"] == "lost" and "pi-cluster up" in gone["note"]


def test_who_follows_is_let_go_properly_when_the_server_ends(make_cluster):
    with make_cluster() as cluster:
        cluster.up("--local", "1")
        with serving(cluster) as server, following(server) as follower:
            follower.until(bool)
            server.running.send(signal.SIGTERM)
            follower.end()
            assert follower.failure is None, "its stream has a proper end"
            outcome = server.running.end()
        assert "Cancel" not in outcome.err and "Traceback" not in outcome.err

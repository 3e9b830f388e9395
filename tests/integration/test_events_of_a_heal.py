"""A heal leaves its traces: in the events, in the status, and in what a server counts."""

import json
import signal
import urllib.request

import pytest

from pi_cluster import PipelineClient
from pi_cluster.coordinator.healing.taking_in import TakingIn
from tests.support.asking import ENDLESS_IDS
from tests.support.event_stream import parse, posting
from tests.support.servers import serving

ENDLESS = {"prompt": ENDLESS_IDS, "temperature": 0, "repeat_penalty": 1e9, "stream": True}


@pytest.fixture
def workers(cluster):
    """Two that were started by hand, and serve a pipeline."""
    started = {name: cluster.start_worker(name) for name in ("one", "two")}
    cluster.up("--nodes", ",".join(address for _, address in started.values()))
    return started


def get(server, path):
    with urllib.request.urlopen(f"{server.url}{path}", timeout=20) as response:
        return response.read().decode()


def events_of(cluster):
    told = cluster.call("events", "--json")
    assert told.code == 0 and told.err == ""
    return [json.loads(line) for line in told.out.splitlines()]


def test_a_killed_worker_that_comes_back_is_told_of_from_up_to_down(cluster, workers):
    before = cluster.run("status", "--json").json()["heals"]
    assert (before["healed"], before["last"]) == (0, None)
    assert "healed" not in cluster.run("status").out
    epoch = cluster.record().epoch
    running, address = workers["two"]
    with serving(cluster) as server:
        with posting(server, "/v1/completions", ENDLESS | {"max_tokens": 400}) as response:
            answer = parse(response)
            assert next(answer)["choices"]
            running.send(signal.SIGKILL)
            running.process.wait()
            folder = str(cluster.folder / "two")
            again = ("worker", "--listen", address, "--no-mdns", "--name", "two")
            assert cluster.start(*again, "--data-dir", folder).read_line().startswith("ready ")
            *_, last, done = answer
            assert done == "[DONE]" and last["choices"][0]["finish_reason"] == "length"
        metrics = get(server, "/metrics")
        heals = json.loads(get(server, "/cluster/v1/state"))["heals"]
    assert (heals["healed"], heals["not_healed"]) == (1, 0) and heals["seconds"] > 0
    events = events_of(cluster)
    kinds = [event["kind"] for event in events]
    assert kinds == ["up", "node_lost", "healed"]
    up, lost, healed = (event for event in events if event["kind"] in kinds)
    assert up["nodes"] == ["one", "two"] and up["epoch"] == epoch
    assert lost["node"] == "two" and "two" in lost["said"]
    assert (healed["cause"], healed["nodes"]) == ("node_lost", ["two"])
    assert healed["seconds"] > 0 and healed["said"].startswith("two stopped answering")
    status = cluster.run("status")
    assert "healed 1 time, in" in status.out and healed["said"] in status.out
    heals = cluster.run("status", "--json").json()["heals"]
    assert (heals["healed"], heals["not_healed"], heals["causes"]) == (1, 0, {"node_lost": 1})
    assert heals["last"] == healed and heals["mean_s"] == heals["longest_s"] == healed["seconds"]
    assert cluster.run("down").code == 0
    assert [event["kind"] for event in events_of(cluster)][-1] == "down"
    assert 'pi_cluster_heals_total{kind="node_lost"} 1.0' in metrics
    assert 'pi_cluster_heal_seconds_total{kind="node_lost"} ' in metrics
    assert "pi_cluster_heals_failed_total 0.0" in metrics


def test_what_is_mended_while_nobody_asks_is_counted_too(cluster, workers):
    with cluster.environment(), PipelineClient.connect(cluster.name) as client:
        running, _ = workers["two"]
        running.send(signal.SIGKILL)
        running.process.wait()
        assert TakingIn(client.record, client._hold.healer, lambda: True).once()
        counters = client.counters
    assert counters.heals == {"node_lost": 1} and counters.not_healed == 0
    lost, healed = events_of(cluster)[1:3]
    assert (lost["kind"], healed["kind"]) == ("node_lost", "healed")
    assert round(counters.heal_seconds["node_lost"], 3) >= healed["seconds"] > 0

"""Nodes and coordinators that die, freeze or leave in the middle of an answer."""

import signal

import pytest
from zeroconf import ServiceBrowser, ServiceListener, Zeroconf

from pi_cluster.cluster.discovery.mdns import SERVICE_TYPE
from tests.support.cluster_process import describe_all, eventually, processes_of

MANY = ("--max-tokens", "1500")
UNMENDED = ("--heal-timeout", "0")
NOTICED_S = 15.0
FREED_S = 5.0  # what is promised of a killed coordinator


@pytest.fixture(scope="module")
def frail(make_cluster):
    """Three workers that the tests of this module kill and heal."""
    with make_cluster() as cluster:
        yield cluster


@pytest.fixture
def healed(frail):
    frail.up("--local", "3")
    yield frail
    for process in processes_of(frail.folder):
        process.send_signal(signal.SIGCONT)


def is_free(node):
    stage = node.stage
    return (stage.sequences, stage.cache_bytes, stage.coordinator) == (0, 0, "")


def all_become_free(cluster, within_s=10.0):
    record = cluster.record()
    eventually(lambda: describe_all(record), lambda nodes: all(map(is_free, nodes)), within_s)


def loses(cluster, endless, worker, number):
    """Send a signal to a worker while it helps to answer; returns how the prompt ended."""
    running = cluster.start("prompt", *endless, *MANY, *UNMENDED)
    running.read(20)
    if number == signal.SIGKILL:
        cluster.kill_for_good(worker)
    else:
        cluster.signal_worker(worker, number)
    return running.end(NOTICED_S)


@pytest.mark.parametrize("worker", ["local-1", "local-2"])
def test_a_killed_worker_is_named_and_another_up_heals_the_pipeline(healed, endless, worker):
    asked = ("--ids", "1,3,558,355,4", "--seed", "3", "--max-tokens", "30")
    before = healed.prompt(*asked)["ids"]
    outcome = loses(healed, endless, worker, signal.SIGKILL)
    assert outcome.code == 1 and outcome.out.strip()
    assert worker in outcome.err and "pi-cluster up" in outcome.err
    assert all(other not in outcome.err for other in {"local-1", "local-2", "local-3"} - {worker})
    assert "Traceback" not in outcome.err

    status = healed.run("status")
    assert status.code == 1 and "not running" in status.out
    states = {stage["node"]: stage["state"] for stage in healed.status()["stages"]}
    assert states.pop(worker) == "not running" and set(states.values()) == {"ready"}
    again = healed.call("prompt", *asked, *UNMENDED)
    assert again.code == 1 and worker in again.err and again.out.strip() == ""

    assert "ready: 3 stages" in healed.up("--local", "3").err
    assert healed.prompt(*asked)["ids"] == before


@pytest.mark.parametrize("worker", ["local-1", "local-2", "local-3"])
def test_a_frozen_worker_is_noticed_named_and_of_use_again_when_it_thaws(healed, endless, worker):
    outcome = loses(healed, endless, worker, signal.SIGSTOP)
    assert outcome.code == 1 and worker in outcome.err and "pi-cluster up" in outcome.err
    assert all(other not in outcome.err for other in {"local-1", "local-2", "local-3"} - {worker})
    assert healed.run("status").code == 1
    healed.signal_worker(worker, signal.SIGCONT)
    all_become_free(healed)
    assert "already up" in healed.up("--local", "3").err
    assert len(healed.prompt(*endless, "--max-tokens", "5")["ids"]) == 5


class Watcher(ServiceListener):
    """Which services are announced."""

    def __init__(self):
        self.seen = set()

    def add_service(self, zc, type_, name):
        self.seen.add(name)

    def remove_service(self, zc, type_, name):
        self.seen.discard(name)

    def update_service(self, zc, type_, name):
        pass


def test_a_worker_that_is_asked_to_leave_says_goodbye_on_mdns_and_exits_with_0(cluster):
    words = ("worker", "--listen", "127.0.0.1:0", "--data-dir", str(cluster.folder / "node"))
    running = cluster.start(*words)
    service = f"{running.read_line().split()[2]}.{SERVICE_TYPE}"
    watcher, zeroconf = Watcher(), Zeroconf(interfaces=["127.0.0.1"])
    try:
        browser = ServiceBrowser(zeroconf, SERVICE_TYPE, listener=watcher)
        eventually(lambda: service in watcher.seen, bool)
        running.send(signal.SIGTERM)
        assert running.end().code == 0
        eventually(lambda: service in watcher.seen, lambda is_seen: not is_seen)
        browser.cancel()
    finally:
        zeroconf.close()


def test_a_worker_that_leaves_during_an_answer_ends_it_and_exits_with_0(cluster, endless):
    first, one = cluster.start_worker("first")
    second, two = cluster.start_worker("second")
    cluster.up("--nodes", f"{one},{two}")
    running = cluster.start("prompt", *endless, *MANY, *UNMENDED)
    running.read(20)
    second.send(signal.SIGTERM)
    assert second.end().code == 0
    outcome = running.end()
    assert outcome.code == 1 and "second" in outcome.err
    first.send(signal.SIGINT)
    assert first.end().code == 0


def test_a_killed_coordinator_leaves_nothing_behind_on_any_node(story, endless):
    running = story.start("prompt", *endless, *MANY)
    running.read(20)
    busy = story.status()
    assert all(s["sequences"] == 1 and s["cache_bytes"] > 0 for s in busy["stages"])
    assert f"process {running.process.pid}" in busy["stages"][0]["coordinator"]
    assert story.run("status").code == 0  # busy is well
    running.send(signal.SIGKILL)
    running.end()
    all_become_free(story, FREED_S)
    assert len(story.prompt(*endless, "--max-tokens", "5")["ids"]) == 5


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_killed_or_frozen_coordinator_gives_way_to_the_next_which_did_not_wait(
    story, endless, number
):
    expected = story.prompt(*endless, "--max-tokens", "5")["ids"]
    running = story.start("prompt", *endless, *MANY)
    running.read(20)
    running.send(number)
    following = story.start("prompt", *endless, "--max-tokens", "5", "--json")
    outcome = following.end()
    assert outcome.code == 0, outcome
    assert outcome.json()["ids"] == expected
    running.stop()
    all_become_free(story)


def test_ctrl_c_keeps_the_text_so_far_and_frees_the_sequence_everywhere(story, endless):
    running = story.start("prompt", *endless, *MANY)
    shown = running.read(20)
    running.send(signal.SIGINT)
    outcome = running.end()
    assert outcome.code == 130 and outcome.out.startswith(shown)
    assert outcome.out.endswith("\n") and "Traceback" not in outcome.err
    all_become_free(story)


def test_ctrl_c_with_json_prints_what_there_is(story, endless):
    record = story.record()
    running = story.start("prompt", *endless, *MANY, "--json")
    eventually(lambda: describe_all(record), lambda nodes: all(n.stage.sequences for n in nodes))
    running.send(signal.SIGINT)
    outcome = running.end()
    assert outcome.code == 130 and '"finish_reason": "interrupted"' in outcome.out
    all_become_free(story)

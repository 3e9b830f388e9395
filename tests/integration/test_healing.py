"""A pipeline that loses nodes in the middle of an answer: it is mended, and the answer goes on."""

import json
import re
import signal

import pytest

from pi_cluster import PipelineClient
from tests.support.asking import ENDLESS_IDS
from tests.support.cluster_process import eventually, processes_of

LONG = ("--max-tokens", "1200")
KEYWORDS = {"max_tokens": 1200, "temperature": 0.0, "repeat_penalty": 1e9}
HEALED_S = 60.0


@pytest.fixture(scope="module")
def undisturbed(shared_story, endless):
    """What the model says where nothing happens."""
    return shared_story.call("prompt", *endless, *LONG).out


@pytest.fixture
def three(make_cluster):
    """Workers started by hand at addresses of their own, their cluster, and what it takes anew."""
    with make_cluster() as cluster:
        names = ("one", "two", "three")
        workers = {name: cluster.start_worker(name) for name in names}
        cluster.up("--nodes", ",".join(address for _, address in workers.values()))
        yield cluster, workers
        for process in processes_of(cluster.folder):
            process.send_signal(signal.SIGCONT)


def start_again(cluster, name, address):
    """The same worker at the same address."""
    words = ("--listen", address, "--no-mdns", "--name", name)
    running = cluster.start("worker", *words, "--data-dir", str(cluster.folder / name))
    assert running.read_line().startswith("ready ")


def kill(running):
    running.send(signal.SIGKILL)
    running.process.wait()


def events(cluster):
    path = cluster.folder / "state" / "pi-cluster" / cluster.name / "events.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.parametrize("lost", ["one", "two", "three"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_the_others_take_over_and_the_text_is_the_same(three, endless, undisturbed, lost, number):
    cluster, workers = three
    running = cluster.start("prompt", *endless, *LONG)
    running.read(50)
    workers[lost][0].send(number)
    outcome = running.end(HEALED_S)
    assert (outcome.code, outcome.out) == (0, undisturbed), outcome.err
    left = [name for name in workers if name != lost]
    told = rf"{lost} stopped answering; going on with {left[0]} and {left[1]} after [\d.]+ s"
    assert re.search(told, outcome.err), outcome.err
    assert [one.name for one in cluster.record().addresses] == left
    assert [one["kind"] for one in events(cluster)] == ["node_lost", "healed"]


def test_a_worker_that_returns_in_time_keeps_its_layers(three, endless, undisturbed):
    cluster, workers = three
    before = cluster.record()
    running = cluster.start("prompt", *endless, *LONG)
    running.read(50)
    kill(workers["two"][0])
    start_again(cluster, "two", workers["two"][1])
    outcome = running.end(HEALED_S)
    assert (outcome.code, outcome.out) == (0, undisturbed), outcome.err
    assert "two stopped answering; it is back" in outcome.err
    assert cluster.record() == before


def test_with_no_time_to_heal_the_loss_is_told(three, endless):
    cluster, workers = three
    running = cluster.start("prompt", *endless, *LONG, "--heal-timeout", "0")
    running.read(50)
    kill(workers["two"][0])
    outcome = running.end(HEALED_S)
    assert outcome.code == 1 and "two" in outcome.err and "going on" not in outcome.err


def test_two_that_are_lost_one_after_the_other_are_both_done_without(three, endless, undisturbed):
    cluster, workers = three
    running = cluster.start("prompt", *endless, *LONG)
    running.read(50)
    kill(workers["two"][0])
    running.read(1500)
    kill(workers["three"][0])
    outcome = running.end(HEALED_S)
    assert (outcome.code, outcome.out) == (0, undisturbed), outcome.err
    assert [one.name for one in cluster.record().addresses] == ["one"]


def test_a_node_that_nobody_stands_in_for_is_waited_for(cluster, endless, undisturbed):
    (running, address) = cluster.start_worker("only")
    cluster.up("--nodes", address)
    asking = cluster.start("prompt", *endless, *LONG)
    asking.read(50)
    kill(running)
    eventually(lambda: asking.error_text, lambda told: "waiting up to 600 s" in told, HEALED_S)
    assert "only stopped answering, and the others have no room" in asking.error_text
    start_again(cluster, "only", address)
    outcome = asking.end(HEALED_S)
    assert (outcome.code, outcome.out) == (0, undisturbed), outcome.err


def test_what_cannot_be_mended_in_time_is_told_with_its_name(cluster, endless):
    (running, address) = cluster.start_worker("only")
    cluster.up("--nodes", address)
    asking = cluster.start("prompt", *endless, *LONG, "--heal-timeout", "4")
    asking.read(50)
    kill(running)
    outcome = asking.end(HEALED_S)
    assert outcome.code == 1 and outcome.out.strip()
    assert "only stopped answering, and 4 s have passed in vain" in outcome.err
    assert [one["kind"] for one in events(cluster)] == ["node_lost", "heal_failed"]


def test_a_question_to_nodes_that_are_gone_is_told_so_at_once(cluster):
    (running, address) = cluster.start_worker("only")
    cluster.up("--nodes", address)
    kill(running)
    outcome = cluster.run("prompt", "Tell me a story.")
    assert outcome.code == 1 and "only" in outcome.err and "waiting" not in outcome.err


def test_many_answers_are_mended_together(three):
    cluster, workers = three
    kinds = [KEYWORDS, *({"max_tokens": 300, "seed": seed} for seed in range(5))]
    with cluster.environment(), PipelineClient.connect(cluster.name) as client:
        whole = [client.ask(ENDLESS_IDS, **keywords).ids for keywords in kinds]
        streams = [client.stream(ENDLESS_IDS, **keywords) for keywords in kinds]
        running = [iter(stream) for stream in streams]
        for one in running:
            next(one)
        kill(workers["two"][0])
        for one in running:
            list(one)
        assert [stream.answer.ids for stream in streams] == whole
        assert client.counters.heals == {"node_lost": 1}

"""A pipeline that loses nodes in the middle of an answer: it is mended, and the answer goes on."""

import json
import re
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from pi_cluster import PipelineClient
from pi_cluster.cluster.errors import NodeLost, StateError
from pi_cluster.coordinator.healing.acting import Acting
from pi_cluster.coordinator.healing.healer import Healer
from pi_cluster.coordinator.healing.looking import look
from pi_cluster.coordinator.healing.losses import MOST_LOSSES, Losses
from pi_cluster.coordinator.healing.mending import Means, Mending
from pi_cluster.coordinator.healing.permission import dialer_to_load
from pi_cluster.coordinator.healing.taking_in import TakingIn, is_worth_it
from pi_cluster.coordinator.pipeline.asker import dialer_to_ask
from pi_cluster.coordinator.planning.objective import Objective
from pi_cluster.coordinator.planning.prediction import Prediction
from pi_cluster.coordinator.trouble import Healing, Trouble
from tests.support.asking import ENDLESS_IDS
from tests.support.cluster_process import describe_all, eventually, processes_of
from tests.support.measured_nodes import remember_speed

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


def start_again(cluster, name, address, *words):
    """The same worker at the same address."""
    words = ("--listen", address, "--no-mdns", "--name", name, *words)
    running = cluster.start("worker", *words, "--data-dir", str(cluster.folder / name))
    assert running.read_line().startswith("ready ")


def kill(running):
    running.send(signal.SIGKILL)
    running.process.wait()


def events(cluster):
    path = cluster.folder / "state" / "pi-cluster" / cluster.name / "events.jsonl"
    told = [json.loads(line) for line in path.read_text().splitlines()]
    return [one for one in told if one["kind"] != "up"]


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
    said = "only stopped answering, and no other node answers: waiting up to 600 s for it"
    assert said in asking.error_text
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


def test_who_learns_late_of_a_loss_has_nothing_mended_again(three):
    cluster, workers = three
    with cluster.environment(), PipelineClient.connect(cluster.name) as client:
        read, kept = (client.stream(ENDLESS_IDS, **KEYWORDS) for _ in range(2))
        pieces = iter(read)
        next(pieces)
        kill(workers["two"][0])
        list(pieces)
        list(kept)
        assert kept.answer.ids == read.answer.ids
        assert client.counters.heals == {"node_lost": 1}
    assert [one["kind"] for one in events(cluster)] == ["node_lost", "healed"]


def test_an_answer_that_waits_for_a_node_is_cancelled_at_once(cluster):
    (running, address) = cluster.start_worker("only")
    cluster.up("--nodes", address)
    waits = threading.Event()

    def notice(sentence):
        if "waiting up to" in sentence:
            waits.set()

    with (
        cluster.environment(),
        PipelineClient.connect(cluster.name, on_notice=notice) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        stream = client.stream(ENDLESS_IDS, **KEYWORDS)
        pieces = iter(stream)
        next(pieces)
        reading = pool.submit(list, pieces)
        kill(running)
        try:
            assert waits.wait(HEALED_S)
            stream.cancel()
            reading.result(HEALED_S)
            assert stream.answer.was_interrupted
        finally:
            client.close()


def test_what_is_brought_down_while_it_is_mended_stays_down(three):
    cluster, _ = three
    record = cluster.record()
    with cluster.environment():
        seen = look(record, [], dialer_to_ask(cluster.name, record))
        assert cluster.call("down").code == 0
        with pytest.raises(StateError, match="no pipeline is up"):
            Acting(cluster.name, dialer_to_load(cluster.name, record)).load_again(record, seen)
    assert not any(node.HasField("stage") for node in describe_all(record))
    assert cluster.run("prompt", "Hello").code == 1


@pytest.fixture
def mending(cluster):
    """Two slow workers with a core each, and what mends and takes in for a program that stays."""
    for name in ("one", "two"):
        remember_speed(cluster.folder / name, 1, cluster.env, slowness=1000)
    workers = {name: cluster.start_worker(name, "--threads", "1") for name in ("one", "two")}
    cluster.up("--nodes", ",".join(address for _, address in workers.values()))
    with cluster.environment():
        record = cluster.record()
        dialer = dialer_to_ask(cluster.name, record)
        healer = Healer(cluster.name, record.manifest.digest, dialer, print)
        yield cluster, workers, TakingIn(record, healer, lambda: True)
        healer.close()


def test_what_is_lost_while_nobody_asks_is_mended_and_who_returns_is_taken_in(mending, endless):
    cluster, workers, taking_in = mending
    asked = ("--ids", "1,3,558,355,4", "--seed", "3", "--max-tokens", "30")
    before = cluster.prompt(*asked)["ids"]
    assert not taking_in.once(), "all is well"
    running, address = workers["two"]
    kill(running)
    assert taking_in.once()
    assert [one.name for one in cluster.record().addresses] == ["one"]
    assert cluster.prompt(*asked)["ids"] == before
    start_again(cluster, "two", address, "--threads", "1")
    asking = cluster.start("prompt", *endless, *LONG)
    asking.read(20)
    assert not taking_in.once(), "another program is answered"
    assert asking.end(HEALED_S).code == 0
    assert taking_in.once()
    assert {one.name for one in cluster.record().addresses} == {"one", "two"}
    assert cluster.prompt(*asked)["ids"] == before
    kinds = [one["kind"] for one in events(cluster)]
    assert kinds == ["node_lost", "healed", "taken_in"]
    assert not taking_in.once()


def test_who_comes_and_goes_is_gone_on_with_where_nobody_else_is_left(mending):
    cluster, workers, _ = mending
    record = cluster.record()
    ids = {one.name: one.node_id for one in record.addresses}
    losses = Losses()
    assert losses.note(ids["two"], time.monotonic(), MOST_LOSSES)
    kill(workers["one"][0])
    loss = NodeLost("one stopped answering", [ids["one"]])
    dialer = dialer_to_ask(cluster.name, record)
    means = Means(cluster.name, record.manifest.digest, dialer, 30.0, losses)
    Mending(Healing(Trouble(loss, ("one",)), loss), means, threading.Event()).run(record)
    assert [one.name for one in cluster.record().addresses] == ["two"]


def test_after_nobody_answered_the_last_to_be_heard_of_again_has_time_too(three):
    cluster, workers = three
    record = cluster.record()
    for running, _ in workers.values():
        running.send(signal.SIGSTOP)
    loss = NodeLost("none of the 3 nodes has answered", awaited_s=9.0)
    healing = Healing(Trouble(loss, (), silent_s=9.0), loss)
    with cluster.environment(), ThreadPoolExecutor(1) as pool:
        dialer = dialer_to_ask(cluster.name, record)
        means = Means(cluster.name, record.manifest.digest, dialer, HEALED_S, Losses())
        mended = pool.submit(Mending(healing, means, threading.Event()).run, record)
        eventually(lambda: healing.said, lambda said: "no other node answers" in said, HEALED_S)
        for name in ("one", "three"):
            workers[name][0].send(signal.SIGCONT)
        eventually(lambda: healing.said, lambda said: said.endswith(": waiting for two"), HEALED_S)
        workers["two"][0].send(signal.SIGCONT)
        mended.result(HEALED_S)
    assert cluster.record() == record


def test_what_ends_before_it_has_mended_a_pipeline_tells_of_no_heal(mending):
    cluster, workers, taking_in = mending
    for running, _ in workers.values():
        kill(running)
    with ThreadPoolExecutor(1) as pool:
        once = pool.submit(taking_in.once)
        eventually(lambda: events(cluster), bool, HEALED_S)
        taking_in.close()
        assert not once.result(HEALED_S)
    assert "healed" not in {one["kind"] for one in events(cluster)}


def test_a_gain_of_little_is_not_worth_moving_layers():
    slow = Prediction(2.0, 5.0, 50.0, (0.10, 0.30), (0.0, 0.0, 0.0))
    for stages, is_worth in (((0.20, 0.28), False), ((0.20, 0.27), True)):
        quick = replace(slow, stage_s=stages)
        assert is_worth_it(quick, slow, Objective.THROUGHPUT) is is_worth
        assert not is_worth_it(quick, slow, Objective.LATENCY)
    assert is_worth_it(replace(slow, decode_tps=2.3), slow, Objective.LATENCY)

"""Whoever falls silent for a moment: told of, waited for, and never blamed for what another did."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from pi_cluster.cluster.errors import NodeLost, SessionExpired, StaleEpoch
from pi_cluster.cluster.wire.client import NodeClient
from pi_cluster.coordinator.session import Session
from pi_cluster.coordinator.stage_address import StageAddress
from pi_cluster.coordinator.steps import StepChunk
from pi_cluster.coordinator.wait_limits import WaitLimits
from pi_cluster.transformer.stage import Stage
from pi_cluster.worker.stage.outlet import NextHop
from pi_cluster.worker.stage.sessions import Sessions
from tests.support.cluster_process import describe_all, eventually
from tests.support.notices import Notices
from tests.support.raw_session import RawSession
from tests.support.relay import relaying
from tests.support.terminal import Terminal
from tests.support.worker_servers import EPOCH, PLAIN, load_stage, pipeline

PATIENCE_S = 40.0
WORKERS = ["local-1", "local-2", "local-3"]
LENGTH = ("--max-tokens", "800")
VOCAB = 130
BOUNDS = [0, 2, 4, 6]
IDS = list(range(1, 30))


@pytest.fixture(scope="module")
def asked(endless):
    """A question whose answer takes a few seconds, since nothing of it is guessed."""
    return ("prompt", *endless, *LENGTH, "--draft", "off")


@pytest.fixture(scope="module")
def undisturbed(shared_story, asked):
    """What it prints when nothing happens."""
    outcome = shared_story.run(*asked)
    assert outcome.code == 0, outcome
    return outcome.out


@pytest.fixture
def going_on(story):
    """The pipeline of three workers, which all run again afterwards."""
    yield story
    for worker in WORKERS:
        story.signal_worker(worker, signal.SIGCONT)


def says(running, words):
    eventually(lambda: running.error_text, lambda text: words in text, PATIENCE_S)


def lines(text):
    return [line.split(" (")[0].split(" again")[0] for line in text.splitlines()]


@pytest.mark.parametrize("worker", WORKERS)
def test_a_worker_that_stops_is_named_and_the_answer_goes_on_when_it_does(
    going_on, asked, undisturbed, worker
):
    running = going_on.start(*asked)
    running.read(20)
    going_on.signal_worker(worker, signal.SIGSTOP)
    says(running, f"{worker} (127.0.0.1:")
    assert "layers" in running.error_text and "waiting up to" in running.error_text
    going_on.signal_worker(worker, signal.SIGCONT)
    outcome = running.end()
    assert (outcome.code, outcome.out) == (0, undisturbed)
    # A machine with too much to do may be told of as well.
    told = [line for line in lines(outcome.err) if line.startswith(worker)]
    assert told == [worker, f"{worker} answers"]
    assert "error" not in outcome.err and "ping" not in outcome.err


def test_people_say_how_long_a_silent_worker_is_waited_for(going_on, asked):
    running = going_on.start(*asked, "--give-up-after", "3", "--heal-timeout", "0")
    running.read(20)
    going_on.signal_worker("local-2", signal.SIGSTOP)
    outcome = running.end()
    assert outcome.code == 1 and "waiting up to 3 s" in outcome.err
    error = next(line for line in outcome.err.splitlines() if line.startswith("error: "))
    assert error.startswith("error: local-2 (") and "has not answered for 4 s" in error


def test_a_waiting_time_that_connections_do_not_bear_is_refused(story):
    outcome = story.call("prompt", "hello", "--give-up-after", "60")
    assert outcome.code == 2 and "--give-up-after" in outcome.err


def test_a_notice_begins_on_a_line_of_its_own_where_the_answer_is_shown_too(going_on, asked):
    with Terminal(going_on.words(*asked), going_on.env) as terminal:
        terminal.until("story")
        going_on.signal_worker("local-2", signal.SIGSTOP)
        terminal.until("\nlocal-2 (127.0.0.1:")
        going_on.signal_worker("local-2", signal.SIGCONT)
        terminal.until("\nlocal-2 answers again")


def test_a_coordinator_that_stops_for_a_moment_goes_on(story, asked, undisturbed):
    running = story.start(*asked)
    running.read(20)
    running.send(signal.SIGSTOP)
    assert "local-3" in story.run("status").out  # which takes its time
    running.send(signal.SIGCONT)
    outcome = running.end()
    assert (outcome.code, outcome.out) == (0, undisturbed)


def test_a_coordinator_that_sleeps_frees_the_nodes_and_goes_on_when_it_wakes_told_why(
    story, asked, undisturbed
):
    record = story.record()
    running = story.start(*asked)
    running.read(20)
    running.send(signal.SIGSTOP)
    eventually(
        lambda: describe_all(record),
        lambda nodes: all(not n.stage.sequences and not n.stage.coordinator for n in nodes),
        PATIENCE_S,
    )
    assert len(story.prompt("--ids", "1,3", "--max-tokens", "5")["ids"]) <= 5
    running.send(signal.SIGCONT)
    outcome = running.end()
    assert (outcome.code, outcome.out) == (0, undisturbed)
    told = next(line for line in outcome.err.splitlines() if "the session was lost" in line)
    assert "stopped or asleep" in told and "asking again" in told
    assert not any(worker in told for worker in WORKERS)


QUICK = WaitLimits(give_up_after_s=3.0, told_after_s=1.2)


@pytest.fixture
def relayed(random_store, tmp_path):
    """Three stages; what the first sends the second goes through a relay."""
    with pipeline(random_store, BOUNDS, tmp_path) as stages:
        second = stages[1]
        with relaying(second.address) as relay:
            following = StageAddress(second.node_id, second.name, relay.address, second.layers)
            with NodeClient(stages[0].peer, PLAIN) as client:
                client.unload_stage(EPOCH)
            load_stage(random_store, stages[0], following)
            yield stages, relay


def logits(result):
    return [row.candidates.logits.tolist() for row in result.rows]


def test_two_nodes_that_do_not_reach_each_other_are_both_named(relayed):
    stages, relay = relayed
    notices = Notices()
    with Session(stages, EPOCH, VOCAB, PLAIN, notices, limits=QUICK) as session:
        session.submit([StepChunk(1, 0, IDS, len(IDS))])
        before = logits(session.next_result())
        relay.hold()
        session.submit([StepChunk(1, 0, IDS, len(IDS))])
        notices.wait(1)
        relay.release()
        assert logits(session.next_result()) == before
        notices.wait(2)
    first, second = stages[0].label, stages[1].label
    assert notices.told[0].startswith(f"{first} has not reached {second} for ")
    assert notices.told[1].startswith(f"{stages[0].name} reaches {stages[1].name} again")
    assert len(notices.told) == 2


def test_a_link_that_stays_broken_ends_the_session_and_names_both_its_ends(relayed):
    stages, relay = relayed
    with Session(stages, EPOCH, VOCAB, PLAIN, limits=QUICK) as session:
        relay.hold()
        session.submit([StepChunk(1, 0, IDS, 1)])
        with pytest.raises(NodeLost, match="has not reached") as lost:
            session.next_result()
        relay.release()
    assert lost.value.node_ids == (stages[0].node_id, stages[1].node_id)
    assert lost.value.awaited_s > QUICK.give_up_after_s


def test_a_node_that_computes_for_long_is_not_called_silent(relayed, monkeypatch):
    stages, _ = relayed
    going = threading.Event()
    answered = threading.Semaphore(0)
    forward, ping = Stage.forward, Sessions.ping

    def held_forward(stage, chunks, hidden):
        assert going.wait(PATIENCE_S)
        return forward(stage, chunks, hidden)

    def counted_ping(sessions, name):
        answered.release()
        return ping(sessions, name)

    monkeypatch.setattr(Stage, "forward", held_forward)
    monkeypatch.setattr(Sessions, "ping", counted_ping)
    notices = Notices()
    with Session(stages, EPOCH, VOCAB, PLAIN, notices, limits=QUICK) as session:
        session.submit([StepChunk(1, 0, IDS, 1)])
        # Each stage is asked twice a second, the later ones by two.
        for _ in range(int(2 * 5 * QUICK.silent_s)):
            assert answered.acquire(timeout=PATIENCE_S)
        going.set()
        assert logits(session.next_result())
    assert notices.told == []


def test_stages_let_go_of_a_session_that_nobody_asks_after_for_as_long_as_it_said(relayed):
    stages, _ = relayed
    with RawSession(stages, asked_after=True, held_ms=1_000) as line:
        line.step((1, 0, IDS))
        with pytest.raises(SessionExpired, match="for 1 s and ended it: ask again"):
            line.failure()
    with RawSession(stages) as line:
        line.step((1, 0, IDS))


def test_a_stage_is_replaced_while_it_waits_for_a_frozen_one_to_end_its_session(
    relayed, random_store, monkeypatch
):
    stages, relay = relayed
    is_closing, close = threading.Event(), NextHop.close

    def told_close(hop):
        is_closing.set()
        close(hop)

    monkeypatch.setattr(NextHop, "close", told_close)
    with RawSession(stages) as line:
        line.step((1, 0, IDS))
        relay.hold()
        line.end_steps()
        assert is_closing.wait(PATIENCE_S)
        load_stage(random_store, stages[0], stages[1], EPOCH + 1)
        with pytest.raises(StaleEpoch):
            line.failure()
        relay.release()


# To a port where nobody speaks TLS, which gRPC would tell of at length.
_CALL = """
import sys
from pi_cluster.deploy.cli import main
import grpc
channel = grpc.secure_channel(sys.argv[-1], grpc.ssl_channel_credentials())
call = channel.unary_unary("/a/b").future(b"", timeout=10)
assert call.exception().code() is grpc.StatusCode.UNAVAILABLE, call
"""


@pytest.mark.parametrize("words", [[], ["--debug"]])
def test_what_grpc_logs_is_shown_with_debug_alone(random_store, tmp_path, words):
    env = {name: value for name, value in os.environ.items() if name != "GRPC_VERBOSITY"}
    with pipeline(random_store, BOUNDS, tmp_path) as stages:
        command = [sys.executable, "-c", _CALL, *words, stages[0].address]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    assert bool(done.stderr) == bool(words), done.stderr

"""`pi-cluster events`: what happened is told in order, harmless, and for as long as one looks."""

import json
import signal
import time

import pytest

from pi_cluster.coordinator.records.events import EventKind, EventLog
from tests.support.cluster_process import Cluster
from tests.support.hostile import HOSTILE, steering
from tests.support.terminal import Terminal


@pytest.fixture
def cluster(tmp_path):
    with Cluster(tmp_path, tmp_path / "cache") as made:
        yield made


@pytest.fixture
def log(cluster, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", cluster.env["XDG_STATE_HOME"])
    return EventLog(cluster.name)


def test_events_are_told_in_order_with_their_heals_below(cluster, log):
    log.note(EventKind.UP, "the storyteller is up on pi1 and pi2")
    log.note(EventKind.NODE_LOST, "pi2 stopped answering")
    for seconds in (4.0, 9.0):
        about = {"seconds": seconds, "cause": "node_lost"}
        log.note(EventKind.HEALED, f"pi2 is back after {seconds} s", about)
    log.note(EventKind.HEAL_FAILED, "pi2 stopped answering, for good")
    told = cluster.call("events")
    assert (told.code, told.err) == (0, "")
    table, below = told.out.split("└")
    places = [table.index(word) for word in ("brought up", "node lost", "healed", "not healed")]
    assert places == sorted(places) and "4.0 s" in table and "for good" in table
    assert "healed 2 times, in 6.5 s on average and 9.0 s at most, and not healed 1 time" in below
    assert "after lost nodes: 2" in below


def test_a_cluster_in_which_nothing_happened_says_so(cluster):
    told = cluster.call("events")
    assert (told.code, told.out) == (0, "") and "nothing has happened" in told.err


def test_lines_that_tell_of_no_event_are_mentioned_and_skipped(cluster, log):
    log.note(EventKind.UP, "before")
    with log.path.open("ab") as file:
        file.write(b"\0\0\0\n{\n")
    log.note(EventKind.DOWN, "behind")
    told = cluster.call("events", "--json")
    assert [json.loads(line)["said"] for line in told.out.splitlines()] == ["before", "behind"]
    assert "2 lines skipped" in told.err and str(log.path) in told.err


def test_the_latest_and_those_of_a_time_are_picked(cluster, log):
    for number in range(60):
        log.note(EventKind.NODE_LOST, f"event {number}")
    old = {"unix_s": time.time() - 7_200, "kind": "node_lost", "said": "two hours ago"}
    with log.path.open("ab") as file:
        file.write(json.dumps(old).encode() + b"\n")

    def said(*words):
        told = cluster.call("events", "--json", *words)
        return [json.loads(line)["said"] for line in told.out.splitlines()]

    assert len(said()) == 61 and said("--last", "0") == []
    assert said("--last", "2") == ["event 59", "two hours ago"]
    assert said("--since", "1h", "--last", "1") == ["event 59"]
    assert len(said("--since", "3h")) == 61 and said("--since", "2999-01-01") == []
    assert "event 10 " not in cluster.call("events").out
    assert "event 0 " in cluster.call("events", "--since", "1d").out


@pytest.mark.parametrize("text", ["soon", "5x", "-5m", "2026-13-01", "0001-01-01", ""])
def test_a_time_that_is_none_is_wrong_usage_and_says_how_to_write_one(cluster, text):
    told = cluster.call("events", "--since", text)
    assert told.code == 2 and "is no time: write 90s" in told.err


def test_names_of_nodes_cannot_steer_the_terminal(cluster, log):
    log.note(EventKind.NODE_LOST, f"{HOSTILE} stopped answering", {"node": HOSTILE})
    for words in ((), ("--json",), ("--follow",)):
        with Terminal(cluster.words("events", *words), cluster.env, 100) as terminal:
            shown = terminal.until("answering")
        assert steering(shown) == [], words


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
def test_following_shows_what_comes_also_in_a_new_file_until_ctrl_c(cluster, log, form):
    log.note(EventKind.UP, "kept from before")
    running = cluster.start("events", "--follow", *form)
    assert "kept from before" in running.read_line()
    log.note(EventKind.NODE_LOST, "in the same file")
    assert "in the same file" in running.read_lines(2)[1]
    log.path.replace(log.older_path)
    log.note(EventKind.HEALED, "in the next file", {"seconds": 1})
    lines = running.read_lines(3)
    assert "in the next file" in lines[2]
    if form:
        assert [json.loads(line)["kind"] for line in lines] == ["up", "node_lost", "healed"]
    running.send(signal.SIGINT)
    ended = running.end()
    assert ended.code == 130 and len(ended.out.splitlines()) == 3
    assert "interrupted" in ended.err and "Traceback" not in ended.err

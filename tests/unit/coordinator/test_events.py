"""Events written down and read again, whatever else is in their file."""

import json
import os
import stat
import subprocess
import sys

import pytest

from pi_cluster.cluster import settings
from pi_cluster.cluster.errors import StateError, SystemFailure
from pi_cluster.coordinator.records.event_reading import EventReader, read_events
from pi_cluster.coordinator.records.events import MOST_LINE_BYTES, EventKind, EventLog
from pi_cluster.coordinator.records.heals import HealsSeen, heals_among, since_up
from tests.support.hostile import HOSTILE

WRITING = """
import sys
from pi_cluster.coordinator.records.events import EventKind, EventLog
log = EventLog("events", most_bytes=int(sys.argv[2]))
for number in range(int(sys.argv[3])):
    log.note(EventKind.NODE_LOST, f"writer {sys.argv[1]} notes {number}")
"""


@pytest.fixture
def log(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return EventLog("events")


def small(log, most_bytes):
    """The same events in smaller files."""
    assert log.path == settings.cluster_state("events") / "events.jsonl"
    return EventLog("events", most_bytes)


def said(reading):
    return [event.said for event in reading.events]


def test_an_event_is_read_as_it_was_written_and_for_its_owner_alone(log):
    log.note(EventKind.HEALED, "pi2 is back", {"seconds": 4.125, "cause": "node_lost"})
    (event,) = read_events(log).events
    assert (event.kind, event.said) == ("healed", "pi2 is back")
    assert (event.seconds, event.cause) == (4.125, "node_lost")
    assert stat.S_IMODE(log.path.stat().st_mode) == 0o600


def test_where_nothing_was_written_nothing_is_read(log):
    assert read_events(log).events == [] and not log.path.exists()


def test_a_sentence_of_strangers_stays_one_line_and_details_cannot_pose_as_it(log):
    log.note(EventKind.NODE_LOST, f"{HOSTILE}\n\udcff", {"said": "all is well", "unix_s": 0})
    log.note(EventKind.TAKEN_IN, "pi2 is back")
    first, second = read_events(log).events
    assert first.said == f"{HOSTILE}\n\udcff" and first.unix_s > 0
    assert second.said == "pi2 is back" and log.path.read_bytes().count(b"\n") == 2


@pytest.mark.parametrize("text", ["\x00", "\udcff", "\U0001f600", "x"])
def test_an_event_that_is_too_long_is_cut_and_still_one(log, text):
    log.note(EventKind.NODE_LOST, text * 10_000, {"nodes": ["x" * 100] * 100})
    (event,) = read_events(log).events
    assert event.said and text * 10_000 != event.said
    assert set(event.said) == {text} and log.path.stat().st_size <= MOST_LINE_BYTES


@pytest.mark.parametrize(
    "torn",
    [
        b'{"unix_s": 1, "kind": "up", "sa',
        b"\x00" * 100,
        b"\xff\xfe{}",
        b"null",
        b"[" * 3_000,
        b'{"unix_s": 1, "kind": "up"}',
        b'{"unix_s": NaN, "kind": "up", "said": ""}',
        b'{"unix_s": 1e999, "kind": "up", "said": ""}',
        b'{"unix_s": 1e17, "kind": "up", "said": ""}',
        b'{"unix_s": true, "kind": "up", "said": ""}',
        b'{"unix_s": 1, "kind": "\\u001b[31m", "said": ""}',
        b'{"unix_s": 1, "kind": "up", "said": 7}',
        b'{"unix_s": 1, "kind": "up", "said": "", "seconds": Infinity}',
        b'{"unix_s": 1, "kind": "up", "said": "%s"}' % (b"x" * MOST_LINE_BYTES),
        b"x" * 200_000,
    ],
    ids=lambda torn: repr(torn[:24]),
)
@pytest.mark.parametrize("end", [b"", b"\n"], ids=["torn off", "whole"])
def test_what_is_no_event_is_counted_and_hides_none(log, torn, end):
    log.note(EventKind.UP, "before")
    with log.path.open("ab") as file:
        file.write(torn + end)
    at_the_end = read_events(log)
    assert (said(at_the_end), at_the_end.skipped) == (["before"], 1)
    log.note(EventKind.DOWN, "behind")
    reading = read_events(log)
    assert (said(reading), reading.skipped) == (["before", "behind"], 1)


def test_the_file_is_bounded_and_the_one_before_it_kept(log):
    log = small(log, 2_000)
    for number in range(200):
        log.note(EventKind.NODE_LOST, f"event {number}")
        assert all(file.stat().st_size < 2_200 for file in log.path.parent.iterdir())
    kept = said(read_events(log))
    assert kept == [f"event {number}" for number in range(200 - len(kept), 200)]
    assert 20 < len(kept) < 60
    assert {file.name for file in log.path.parent.iterdir()} <= {"events.jsonl", "events.jsonl.1"}


def test_several_programs_write_at_once_and_lose_nothing(log):
    # Both files together have room for all of it, and not for a file begun anew twice at once.
    most_bytes = 4 * 100 * 90 * 5 // 8
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITING, str(writer), str(most_bytes), "100"])
        for writer in range(4)
    ]
    assert [writer.wait(60) for writer in writers] == [0] * 4
    reading = read_events(log)
    written = {f"writer {writer} notes {number}" for writer in range(4) for number in range(100)}
    assert reading.skipped == 0 and log.older_path.exists()
    assert set(said(reading)) == written and len(reading.events) == 400


def test_a_file_that_is_not_full_never_takes_the_place_of_a_full_one(log):
    most_bytes = 300
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITING, str(writer), str(most_bytes), "1000"])
        for writer in range(4)
    ]
    smallest = most_bytes
    while any(writer.poll() is None for writer in writers):
        if log.older_path.exists():
            smallest = min(smallest, log.older_path.stat().st_size)
    assert [writer.wait() for writer in writers] == [0] * 4
    assert smallest == most_bytes and log.older_path.stat().st_size >= most_bytes


@pytest.mark.parametrize("at_once", [1, 3, 30])
def test_whoever_follows_reads_each_event_once_however_often_the_file_is_begun_anew(log, at_once):
    log = small(log, 1_500)  # some fifteen events: thirty are more than both files keep
    with EventReader(log) as reader:
        assert reader.read().events == []
        for first in range(0, 90, at_once):
            for number in range(first, first + at_once):
                log.note(EventKind.NODE_LOST, f"event {number}")
            # Where the file was begun anew, one look finds that out and the next goes on.
            read = [*said(reader.read()), *said(reader.read()), *said(reader.read())]
            expected = [f"event {number}" for number in range(first, first + at_once)]
            assert read == expected if at_once < 30 else read == expected[-len(read) :] != []


def test_whoever_follows_goes_on_where_the_file_is_emptied_or_removed(log):
    with EventReader(log) as reader:
        log.note(EventKind.UP, "first")
        log.note(EventKind.UP, "second")
        assert said(reader.read()) == ["first", "second"]
        os.truncate(log.path, 0)
        log.note(EventKind.UP, "third")
        assert said(reader.read()) == ["third"]
        log.path.unlink()
        log.note(EventKind.UP, "fourth")
        assert [*said(reader.read()), *said(reader.read())] == ["fourth"]


def test_half_an_event_is_awaited_by_whoever_follows(log):
    log.note(EventKind.UP, "first")
    line = json.dumps({"unix_s": 1, "kind": "down", "said": "second"}).encode() + b"\n"
    with EventReader(log) as reader, log.path.open("ab", buffering=0) as file:
        file.write(line[:20])
        assert said(reader.read()) == ["first"]
        file.write(line[20:])
        reading = reader.read()
        assert (said(reading), reading.skipped) == (["second"], 0)


def test_of_a_file_that_is_not_ours_alone_the_end_is_read(log):
    log.path.parent.mkdir(parents=True)
    with log.path.open("wb") as file:
        file.truncate(1 << 30)
    log.note(EventKind.UP, "behind a gigabyte")
    assert said(read_events(log)) == ["behind a gigabyte"]


@pytest.mark.parametrize("stands_there", ["folder", "pipe"])
def test_what_stands_in_the_files_place_is_named_and_holds_nobody_up(log, stands_there, caplog):
    log.path.parent.mkdir(parents=True)
    if stands_there == "folder":
        log.path.mkdir()
    else:
        os.mkfifo(log.path)
    for _ in range(100):
        log.note(EventKind.NODE_LOST, "x" * 500)  # more than a pipe has room for
    with pytest.raises((StateError, SystemFailure), match=r"events\.jsonl"):
        read_events(log)


def test_who_cannot_write_an_event_down_says_so_in_the_log_and_goes_on(log, caplog):
    log.path.parent.parent.mkdir(parents=True)
    log.path.parent.write_bytes(b"a file where the folder should be")
    log.note(EventKind.UP, "up")
    assert "an event could not be written down" in caplog.text


def test_heals_are_counted_since_the_pipeline_was_brought_up(log):
    log.note(EventKind.HEALED, "of the pipeline before", {"seconds": 100, "cause": "node_lost"})
    log.note(EventKind.UP, "up")
    for seconds, cause in ((2.0, "node_lost"), (6.0, "node_lost"), (1.0, "shard_damaged")):
        log.note(EventKind.HEALED, f"after {seconds} s", {"seconds": seconds, "cause": cause})
    log.note(EventKind.HEALED, "by a newer program", {"seconds": "long", "cause": ["odd"]})
    log.note(EventKind.HEAL_FAILED, "in vain")
    events = read_events(log).events
    heals = heals_among(since_up(events))
    assert (heals.healed, heals.not_healed) == (4, 1)
    assert (heals.mean_s, heals.longest_s) == (3.0, 6.0)
    assert heals.causes == {"node_lost": 2, "shard_damaged": 1}
    assert heals.last.said == "by a newer program" and heals.since_unix_s == events[1].unix_s
    assert heals_among(events).healed == 5 and heals_among([]).since_unix_s is None


def test_whoever_looks_again_counts_the_heals_that_came_and_begins_anew_with_the_next_up(log):
    warnings = []
    with HealsSeen("events", warnings.append) as seen:
        assert seen.now().healed == 0
        log.note(EventKind.UP, "up")
        for _ in range(2):
            log.note(EventKind.HEALED, "pi2 is back", {"seconds": 1})
        assert seen.now().healed == seen.now().healed == 2
        log.note(EventKind.UP, "up again")
        log.note(EventKind.HEALED, "pi2 is back", {"seconds": 3})
        assert (seen.now().healed, seen.now().mean_s) == (1, 3.0)
    assert warnings == []


def test_events_that_cannot_be_read_are_one_warning_and_no_heals(log):
    log.path.mkdir(parents=True)
    warnings = []
    with HealsSeen("events", warnings.append) as seen:
        assert seen.now().healed == seen.now().not_healed == 0
    assert len(warnings) == 1 and "events.jsonl" in warnings[0]

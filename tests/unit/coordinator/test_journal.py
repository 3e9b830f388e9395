"""Unfinished answers on disk: what is read back after a kill, a power cut, or other hands."""

import os
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pi_cluster.cluster.errors import StateError
from pi_cluster.coordinator.keeping import lines
from pi_cluster.coordinator.keeping.journal import OF_COMMANDS, Bounds, Journal
from pi_cluster.coordinator.keeping.what_was_asked import Asking

FOX = "Tell me of a fox\r\nand of \u2028 lines, \ud800 too."
ASKING = Asking("prompt", "d" * 64, FOX, {"seed": 7, "stop": ["."]}, [1, 2, 3])
IDS = [5, 6, 7, 2_000_000_000]


@pytest.fixture
def journal(tmp_path, monkeypatch):
    """One cluster's, in a folder of its own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return Journal.of_commands("test-journal")


def kept(journal, asking=ASKING, ids=IDS):
    """The name of an answer that was left unfinished."""
    entry = journal.begin(asking)
    for token in ids:
        entry.keep(token)
    entry.leave()
    return entry.name


def aged(path, age_s):
    """Have it that the answer has not grown for so long."""
    at_s = time.time() - age_s
    os.utime(path, (at_s, at_s))


def test_what_was_asked_and_answered_is_read_back_as_it_was(journal):
    entry = journal.resume(kept(journal))
    assert (entry.asking, entry.ids) == (ASKING, IDS)


def test_an_answer_that_was_gone_on_with_can_be_left_and_gone_on_with_again(journal):
    name = kept(journal)
    entry = journal.resume(name)
    entry.keep(9)
    entry.leave()
    assert journal.resume(name).ids == [*IDS, 9]


def test_only_its_user_may_read_it_and_nothing_is_left_of_what_has_ended(journal):
    entry = journal.begin(ASKING)
    assert entry.path.stat().st_mode & 0o777 == 0o600
    assert journal.folder.stat().st_mode & 0o777 == 0o700
    entry.end()
    assert journal.names() == []


def test_the_newest_answer_of_the_same_command_is_gone_on_with(journal):
    chat = Asking("chat", "d" * 64, [{"role": "user", "content": "Hi"}], {}, [1])
    names = [kept(journal), kept(journal), kept(journal, chat)]
    for number, name in enumerate(names):
        os.utime(journal.folder / name, (number, number))
    assert journal.resume(command="prompt").name == names[1]
    assert journal.resume(command="chat").name == names[2]


def test_what_is_still_being_written_is_nobody_elses_until_its_process_ends(journal):
    program = (
        "import sys\n"
        "from pi_cluster.coordinator.keeping.journal import Journal\n"
        "from pi_cluster.coordinator.keeping.what_was_asked import Asking\n"
        "journal = Journal.of_commands('test-journal')\n"
        "entry = journal.begin(Asking('prompt', 'd', 'Hi', {}, [1]))\n"
        "entry.keep(4)\n"
        "print(entry.name, flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        name = writer.stdout.readline().strip()
        with pytest.raises(StateError, match="no unfinished answer"):
            journal.resume(name)
        writer.kill()
    assert journal.resume(name).ids == [4]


def test_the_oldest_answers_go_when_there_are_too_many_and_one_under_way_stays(journal):
    under_way = journal.begin(ASKING)
    aged(under_way.path, 99)
    names = []
    for number in range(OF_COMMANDS.answers + 3):
        names.append(kept(journal))
        aged(journal.folder / names[-1], 50 - number)
    left = set(journal.names())
    assert left == {under_way.name, *names[-OF_COMMANDS.answers :]}


def test_the_oldest_answers_go_when_all_together_are_too_long(journal):
    old = kept(journal)
    size = (journal.folder / old).stat().st_size
    bounded = Journal(journal.folder, replace(OF_COMMANDS, total_bytes=2 * size))
    aged(journal.folder / old, 9)
    newer, newest = kept(bounded), kept(bounded)
    assert old not in journal.names() and {newer, newest} == set(journal.names())


def test_an_answer_for_which_those_under_way_leave_no_room_is_not_kept(journal, caplog):
    size = (journal.folder / kept(journal, ids=[])).stat().st_size
    bounded = Journal(journal.folder, Bounds(answers=9, total_bytes=size * 3 // 2, age_s=60))
    under_way = bounded.begin(ASKING)
    assert journal.names() == [under_way.name]
    assert bounded.begin(ASKING) is None and "not kept" in caplog.text
    assert journal.names() == [under_way.name]


def test_an_answer_that_nobody_goes_on_with_goes_in_time_and_one_under_way_stays(journal):
    bounded = Journal(journal.folder, replace(OF_COMMANDS, age_s=60))
    fresh, old, under_way = kept(journal), kept(journal), journal.begin(ASKING)
    aged(journal.folder / fresh, 30)
    for name in (old, under_way.name):
        aged(journal.folder / name, 61)
    bounded.tidy()
    assert set(journal.names()) == {fresh, under_way.name}
    assert journal.resume(fresh).ids == IDS


def test_an_answer_that_becomes_too_long_is_kept_as_far_as_it_got(journal, monkeypatch):
    size = (journal.folder / kept(journal, ids=IDS[:2])).stat().st_size
    monkeypatch.setattr(lines, "MOST_FILE_BYTES", size)
    assert journal.resume(kept(journal)).ids == IDS[:2]


def test_of_a_question_that_is_too_long_to_be_kept_no_file_is_left(journal, monkeypatch, caplog):
    monkeypatch.setattr(lines, "MOST_FILE_BYTES", 20)
    assert journal.begin(ASKING) is None and "not kept" in caplog.text
    assert journal.names() == []


@pytest.mark.parametrize("name", ["../record.json", "nobody", ""])
def test_a_name_that_is_none_of_them_names_those_there_are(journal, name):
    there = kept(journal)
    with pytest.raises(StateError, match=there):
        journal.resume(name)


def test_where_nothing_can_be_written_an_answer_is_not_kept_and_nobody_fails(journal, caplog):
    journal.folder.parent.mkdir(parents=True)
    journal.folder.write_text("in the way")
    assert journal.begin(ASKING) is None
    assert "not kept" in caplog.text and "fox" not in caplog.text


@settings(max_examples=60)
@given(st.data())
def test_of_a_file_that_is_torn_anywhere_all_whole_records_are_read(tmp_path_factory, data):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        journal = Journal.of_commands("test-journal")
        name = kept(journal)
        path = journal.folder / name
        whole = path.read_bytes()
        cut = data.draw(st.integers(0, len(whole)))
        rest = data.draw(st.sampled_from([b"", b"\0" * 40, b"\n\n", b"[[[[", b"1" * 99]))
        written = whole[:cut] + rest  # which may end a line that was cut before its end
        path.write_bytes(written)
        ends = [at + 1 for at, byte in enumerate(whole) if byte == ord("\n")]
        whole_lines = sum(written[:end] == whole[:end] for end in ends)
        if not whole_lines:
            with pytest.raises(StateError):
                journal.resume(name)
            return
        entry = journal.resume(name)
        assert (entry.asking, entry.ids) == (ASKING, IDS[: whole_lines - 1])
        entry.keep(9)
        entry.leave()
        assert journal.resume(name).ids == [*IDS[: whole_lines - 1], 9]


@settings(max_examples=60)
@given(st.data())
def test_a_changed_byte_never_gives_another_question_or_other_ids(tmp_path_factory, data):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        journal = Journal.of_commands("test-journal")
        path = journal.folder / kept(journal)
        content = bytearray(path.read_bytes())
        first_bytes = content.index(b"\n") + 1
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] ^= data.draw(st.integers(1, 255))
        path.write_bytes(content)
        try:
            entry = journal.resume()
        except StateError:
            assert at < first_bytes
            return
        assert at >= first_bytes
        assert entry.asking == ASKING and entry.ids == IDS[: len(entry.ids)]


@settings(max_examples=60)
@given(st.binary(max_size=300))
def test_a_file_of_any_bytes_is_no_answer(tmp_path_factory, content):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        journal = Journal.of_commands("test-journal")
        path = journal.folder / kept(journal)
        path.write_bytes(content)
        with pytest.raises(StateError):
            journal.resume()


def test_of_an_answer_that_grew_too_large_nothing_is_left_once_it_has_ended(journal, monkeypatch):
    monkeypatch.setattr(lines, "MOST_FILE_BYTES", 400)
    entry = journal.begin(ASKING)
    for token in range(40):
        entry.keep(token)
    assert 0 < entry.path.stat().st_size <= 400 and journal.names() == [entry.name]
    entry.end()
    assert journal.names() == []


def test_one_that_grew_too_large_is_gone_on_with_from_where_it_was_kept(journal, monkeypatch):
    monkeypatch.setattr(lines, "MOST_FILE_BYTES", 400)
    ids = journal.resume(kept(journal, ids=range(40))).ids
    assert ids == list(range(len(ids))) and 0 < len(ids) < 40

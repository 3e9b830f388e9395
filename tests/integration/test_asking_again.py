"""A question whose session is lost is asked again by itself, and its answer goes on exactly.

A process that is stopped for longer than the nodes bear stands for a laptop that sleeps.
"""

import json
import signal

import pytest

from tests.support.cluster_process import describe_all, eventually
from tests.support.terminal import Terminal

NOTICED_S = 40.0


@pytest.fixture
def frail(cluster):
    """Two workers of which each test does what it likes."""
    cluster.up("--local", "2")
    return cluster


def sleep(cluster, running):
    """Stop a process until no node holds anything for it, then let it go on."""
    running.send(signal.SIGSTOP)
    eventually(
        lambda: describe_all(cluster.record()),
        lambda nodes: not any(node.stage.coordinator for node in nodes),
        NOTICED_S,
    )
    running.send(signal.SIGCONT)


def said(chat, words):
    chat.stdin.write(words.encode() + b"\n")
    chat.stdin.flush()


def has_begun(cluster):
    """Some node has computed for a session, and may be doing so still."""
    eventually(
        lambda: describe_all(cluster.record()),
        lambda nodes: all(node.stage.sequences for node in nodes),
        NOTICED_S,
    )


def test_the_first_question_after_sleep_is_answered_in_a_chat(frail):
    chat = frail.start("chat", "--temperature", "0")
    said(chat, "Who are you?")
    chat.read_lines(1)
    sleep(frail, chat)
    said(chat, "What is your name?")
    assert "called Storyteller" in chat.read_lines(2)[1], "it still knows the first turn"
    chat.stdin.close()
    outcome = chat.end()
    assert outcome.code == 0 and "error" not in outcome.err.replace("http2_error", "")


def test_a_question_that_sleeps_before_anything_is_shown_is_asked_again(frail, endless):
    asked = (*endless, "--max-tokens", "1000", "--json")
    running = frail.start("prompt", *asked)
    has_begun(frail)
    sleep(frail, running)
    outcome = running.end(90)
    assert outcome.code == 0, outcome
    answer = json.loads(outcome.out)
    assert outcome.err.count("asking again, as the session was lost: ") == 1
    assert answer["ids"] == frail.prompt(*asked)["ids"]


# As `endless`, but drawn: what stands in the prompt, the end of the text too, hardly comes again.
SEEDED = ("--ids", "1,3,2,558,355", "--seed", "3", "--repeat-penalty", "1e9")


def test_an_answer_that_was_shown_in_part_goes_on_after_sleep(frail):
    asked = ("prompt", *SEEDED, "--max-tokens", "1500")
    running = frail.start(*asked)
    shown = running.read(20)
    sleep(frail, running)
    outcome = running.end(90)
    assert outcome.code == 0, outcome
    assert outcome.err.count("asking again, as the session was lost: ") == 1
    assert outcome.out.startswith(shown) and outcome.out == frail.run(*asked).out


def test_an_answer_that_was_shown_in_part_goes_on_when_another_up_replaces_the_pipeline(frail):
    asked = ("prompt", *SEEDED, "--max-tokens", "1500")
    running = frail.start(*asked)
    shown = running.read(20)
    frail.up("--local", "2", "--texts", "2")
    outcome = running.end(90)
    assert outcome.code == 0, outcome
    assert outcome.out.startswith(shown) and outcome.out == frail.run(*asked).out


def test_in_a_terminal_an_error_begins_on_its_own_line(frail, endless):
    words = frail.words("prompt", *endless, "--max-tokens", "20000", "--heal-timeout", "0")
    with Terminal(words, frail.env | {"TERM": "dumb"}) as terminal:
        terminal.until("e")
        frail.kill_for_good("local-2")
        assert terminal.until("error: ").endswith("\n")
        assert "local-2" in terminal.until("\n")
        assert terminal.process.wait(20) == 1


def test_a_question_follows_the_pipeline_when_another_up_replaces_it(frail, endless):
    asked = (*endless, "--max-tokens", "1000", "--json")
    running = frail.start("prompt", *asked)
    has_begun(frail)
    frail.up("--local", "2", "--texts", "2")
    outcome = running.end(90)
    assert outcome.code == 0, outcome
    assert json.loads(outcome.out)["ids"] == frail.prompt(*asked)["ids"]


def test_a_chat_goes_on_when_another_up_has_replaced_the_pipeline_between_two_turns(frail):
    chat = frail.start("chat", "--temperature", "0")
    said(chat, "Who are you?")
    chat.read_lines(1)
    frail.up("--local", "2", "--texts", "2")
    said(chat, "What is your name?")
    assert "called Storyteller" in chat.read_lines(2)[1]
    chat.stdin.close()
    assert chat.end().code == 0


def test_whoever_remembers_a_pipeline_that_is_gone_is_told_what_to_run(frail, random_store):
    before = {path: path.read_bytes() for path in frail.record().files}
    frail.up(str(random_store.path), "--local", "2")
    for path, data in before.items():  # as on another machine, which knows nothing of that
        path.write_bytes(data)
    outcome = frail.run("prompt", "Who are you?")
    assert (outcome.code, outcome.out) == (1, "")
    error, way_out = outcome.err.splitlines()
    assert "local-1 serves another model since" in error
    assert "run `pi-cluster up --local 2 " in way_out


def test_a_node_that_is_not_there_is_named_at_once_and_not_asked_again(frail):
    frail.kill_for_good("local-2")
    outcome = frail.run("prompt", "Who are you?", "--heal-timeout", "0")
    error, found, way_out = outcome.err.splitlines()
    assert outcome.code == 1 and error.startswith("error: local-2 ")
    assert found.startswith("local-2: not running") and "run `pi-cluster up --local 2" in way_out

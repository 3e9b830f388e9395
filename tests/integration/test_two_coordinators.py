"""A pipeline answers one coordinator at a time, and a long answer keeps its memory bounded."""

import signal

import pytest

from pi_cluster.cluster.who_am_i import who_am_i
from pi_cluster.cluster.wire.client import NodeClient
from pi_cluster.transformer.config_form import read_config
from pi_cluster.transformer.kernel_arithmetic import kernel_shapes
from tests.support.cluster_process import describe_all, eventually
from tests.support.terminal import Terminal
from tests.support.worker_servers import PLAIN

STORY = ("Tell me a story.", "--seed", "5", "--max-tokens", "20")


@pytest.fixture
def busy(story, endless):
    """The pipeline while it answers another, long enough for whoever must wait to be in its way."""
    first = story.start("prompt", *endless, "--max-tokens", "20000")
    first.read(10)
    return first


def test_a_second_prompt_is_told_who_holds_the_pipeline_and_the_first_is_unharmed(
    story, endless, busy
):
    second = story.call("prompt", "Tell me a story.", "--wait", "0")
    assert (second.code, second.out) == (1, "")
    user_and_host = who_am_i().split()[0]
    assert f"is answering {user_and_host} (process {busy.process.pid})" in second.err
    assert second.err.count("\n") == 1 and "or give a longer --wait" in second.err
    busy.send(signal.SIGINT)
    outcome = busy.end()
    said = outcome.out.removesuffix("\n")
    alone = story.call("prompt", *endless, "--max-tokens", "100").out.removesuffix("\n")
    both = min(len(said), len(alone))  # where it was interrupted depends on the machine
    assert outcome.code == 130 and both > 0 and said[:both] == alone[:both]


def has_said(running, words):
    eventually(lambda: running.error_text, lambda said: words in said, 40)


def test_a_prompt_waits_its_turn_and_says_so_in_one_line(story, busy):
    second = story.start("prompt", *STORY)
    has_said(second, "waiting up to 30 s")
    busy.send(signal.SIGINT)
    outcome = second.end()
    assert (outcome.code, outcome.out) == (0, story.prompt(*STORY)["text"] + "\n")
    assert outcome.err.count("\n") == 1 and f"process {busy.process.pid}" in outcome.err


def test_who_has_waited_for_too_long_is_told_so_and_by_whom(story, busy):
    outcome = story.run("prompt", *STORY, "--wait", "0.1")
    waits, error = outcome.err.splitlines()
    assert (outcome.code, outcome.out) == (1, "")
    assert "waiting up to 0.1 s" in waits and "also after 0.1 s" in error
    assert error.startswith("error: ") and f"process {busy.process.pid}" in error


def test_bench_waits_its_turn(story, busy):
    bench = story.start("bench", *["--prompt-tokens", "8", "--gen-tokens", "2", "--repeat", "1"])
    has_said(bench, "waiting up to 30 s")
    busy.send(signal.SIGINT)
    outcome = bench.end()
    assert outcome.code == 0 and "pp8" in outcome.out
    assert outcome.err.count("waiting") == 1


def test_ctrl_c_ends_the_wait_at_once(story, busy):
    second = story.start("prompt", *STORY)
    has_said(second, "waiting up to 30 s")
    second.send(signal.SIGINT)
    assert second.end().code == 130
    assert busy.process.poll() is None


def test_ctrl_c_in_a_chat_ends_the_wait_and_not_the_chat(story, busy):
    words = story.words("chat", "--temperature", "0")
    with Terminal(words, story.env | {"TERM": "dumb"}) as chat:
        chat.until(">>> ")
        chat.type("Who are you?\r")
        chat.until("waiting up to 30 s")
        chat.press_ctrl_c()
        chat.until("(interrupted)")
        chat.until(">>> ")
        busy.send(signal.SIGINT)
        busy.end()
        chat.type("What is your name?\r")
        chat.until("called Storyteller")


def test_six_prompts_at_once_are_all_answered(story):
    expected = story.prompt(*STORY)["text"] + "\n"
    asked = [story.start("prompt", *STORY) for _ in range(6)]
    for outcome in [running.end(90) for running in asked]:
        assert (outcome.code, outcome.out) == (0, expected), outcome
        assert outcome.err.count("\n") <= 1


def test_a_chat_that_waits_for_its_user_makes_way_and_goes_on_afterwards(story):
    chat = story.start("chat", "--temperature", "0")
    first = answer_of(chat, "Who are you?", 1)
    assert first == story.prompt("Who are you?", "--temperature", "0")["text"]
    assert story.prompt("Tell me a story.", "--max-tokens", "5")["ids"]
    assert "called Storyteller" in answer_of(chat, "What is your name?", 2)
    chat.stdin.close()
    assert chat.end().code == 0


def answer_of(chat, said, turn):
    """What a chat in a pipe answers; its answers are a line each."""
    chat.stdin.write(said.encode() + b"\n")
    chat.stdin.flush()
    return chat.read_lines(turn)[turn - 1]


def test_caches_stop_growing_once_they_are_full_however_long_the_text(story, endless):
    record = story.record()
    config = read_config(record.manifest.config)
    full = kernel_shapes(config, record.limits)[0].cache_bytes_per_layer
    expected = [len(stage.layers) * full for stage in record.addresses]
    ids = endless[1] + ",5" * 700
    running = story.start("prompt", "--ids", ids, *endless[2:], "--max-tokens", "1500")
    running.read(1)
    last = record.addresses[-1]
    with NodeClient(last.peer, PLAIN) as client:
        began = client.describe().stage.steps
        assert [node.stage.cache_bytes for node in describe_all(record)] == expected
        eventually(lambda: client.describe().stage.steps, lambda steps: steps > began + 200, 30)
        assert [node.stage.cache_bytes for node in describe_all(record)] == expected
    running.stop()
    eventually(
        lambda: describe_all(record), lambda nodes: not any(n.stage.cache_bytes for n in nodes)
    )

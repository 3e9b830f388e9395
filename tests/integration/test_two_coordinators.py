"""A pipeline answers one coordinator at a time, and a long answer keeps its memory bounded."""

import signal

from cluster.node import NodeClient
from tests.cluster_process import describe_all, eventually
from tests.worker_servers import PLAIN
from transformer.config import ModelConfig
from transformer.kernel_arithmetic import layer_shape


def test_a_second_prompt_is_told_who_holds_the_pipeline_and_the_first_is_unharmed(story, endless):
    first = story.start("prompt", *endless, "--max-tokens", "1500")
    first.read(10)
    second = story.call("prompt", "Tell me a story.")
    assert first.process.poll() is None, "the first one ended too early to be in the way"
    assert (second.code, second.out) == (1, "")
    assert f"process {first.process.pid}" in second.err and "wait" in second.err
    first.send(signal.SIGINT)
    outcome = first.end()
    alone = story.call("prompt", *endless, "--max-tokens", "100").out.removesuffix("\n")
    assert outcome.code == 130 and outcome.out.startswith(alone)


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
    config = ModelConfig.from_dict(record.manifest.config)
    full = layer_shape(config, record.limits).cache_bytes_per_layer
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

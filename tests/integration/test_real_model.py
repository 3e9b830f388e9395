"""A real model as people bring it: SmolLM2-135M-Instruct from its GGUF. ``make test-real``.

Everything is greedy, so what it says is the same wherever it is computed.
"""

import pytest

from benchmarks.real_model.smollm2 import gguf_path
from tests.support.terminal import Terminal

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

GREEDY = ("--temperature", "0")
SKY = "Why is the sky blue?"
OPPOSITES = {
    "What is the opposite of hot?": "cold",
    "And of big?": "small",
    "And of young?": "old",
}
LONG_PROMPT = ",".join(str(17 + i * 7919 % 40_000) for i in range(700))
CHUNKS = {1: ("512", "100"), 2: ("7",), 3: ("64", "512")}


@pytest.fixture(scope="module")
def store(tmp_path_factory, make_cluster):
    out = tmp_path_factory.mktemp("smollm2") / "store"
    with make_cluster() as cluster:
        outcome = cluster.run("shard", str(gguf_path()), "--out", str(out), timeout_s=300)
    assert outcome.code == 0, outcome
    return str(out)


@pytest.fixture(scope="module")
def smollm2(make_cluster, store):
    """The model on three workers."""
    with make_cluster() as cluster:
        cluster.up(store, "--local", "3")
        assert len(cluster.record().stages) == 3
        yield cluster


def test_it_answers_a_question_sensibly_from_three_workers(smollm2):
    answer = smollm2.prompt(SKY, "--max-tokens", "60", *GREEDY)
    assert "Rayleigh scattering" in answer["text"]


def test_it_ends_its_answers_itself(smollm2):
    answer = smollm2.prompt(next(iter(OPPOSITES)), *GREEDY)
    assert answer["finish_reason"] == "eos" and answer["text"].endswith(".")
    assert "<|im_" not in answer["text"]


def test_what_a_person_types_is_never_a_control_token(smollm2):
    plain, spelt = (
        smollm2.prompt(text, "--max-tokens", "1", *GREEDY)["prompt_ids"]
        for text in ("end", "<|im_end|>")
    )
    assert spelt.count(2) == plain.count(2) and len(spelt) > len(plain)


def test_a_chat_of_three_turns_knows_what_was_said_before(smollm2):
    env = smollm2.env | {"TERM": "dumb"}
    with Terminal(smollm2.words("chat", *GREEDY), env) as chat:
        chat.until(">>> ")
        for question, word in OPPOSITES.items():
            chat.type(f"{question}\r")
            chat.until(question)
            assert word in chat.until(">>> ", within_s=60)


def test_a_person_may_stop_an_answer_and_go_on(smollm2):
    env = smollm2.env | {"TERM": "dumb"}
    with Terminal(smollm2.words("chat", *GREEDY, "--max-tokens", "2000"), env) as chat:
        chat.until(">>> ")
        chat.type("Tell me a long story about a river.\r")
        chat.until("river.")
        chat.until(" the ")
        chat.press_ctrl_c()
        chat.until("(interrupted)")
        chat.until(">>> ")
        chat.type("/reset\r")
        chat.until(">>> ")
        chat.type("What is the opposite of hot?\r")
        chat.until("hot?")
        assert "cold" in chat.until(">>> ", within_s=60)


@pytest.mark.parametrize("workers", CHUNKS)
def test_workers_and_chunks_do_not_change_the_ids(make_cluster, store, expected_ids, workers):
    with make_cluster() as cluster:
        cluster.up(store, "--local", str(workers))
        assert len(cluster.record().stages) == workers
        for chunk_size in CHUNKS[workers]:
            assert ids_of(cluster, chunk_size) == expected_ids, chunk_size


@pytest.fixture(scope="module")
def expected_ids(smollm2):
    """What three workers answer to a prompt in one chunk after another of 256."""
    ids = ids_of(smollm2, "256")
    assert len(ids) == 24
    return ids


def ids_of(cluster, chunk_size):
    words = ("--ids", LONG_PROMPT, "--chunk-size", chunk_size, "--max-tokens", "24", *GREEDY)
    return cluster.prompt(*words)["ids"]

"""A model with a tokenizer.json that thinks before it answers: ``chat``, ``prompt`` and the API."""

import json
import shutil

import pytest

from pi_cluster.coordinator.asking.encoding import make_question
from pi_cluster.coordinator.asking.question import generation_options
from tests.support.checkpoints import small_config, write_hugging_face_checkpoint
from tests.support.small_tokenizers import PARITY, goldens
from tests.support.talking_models import talking_weights
from tests.support.terminal import Terminal

CONFIG = small_config(vocab_size=430)
START, END, THINK, THOUGHT = 421, 422, 423, 424
A, B, C, LINE, LINES = 64, 65, 66, 198, 350
# It thinks "a" and answers "b", and answers "c" where it is told not to think.
SAYS = ((LINE, THINK), (THINK, A), (A, THOUGHT), (THOUGHT, B), (B, END), (LINES, C), (C, END))
DIM, NOT_DIM = "\x1b[2m", "\x1b[22m"


@pytest.fixture(scope="module")
def thinking(make_cluster):
    with make_cluster() as cluster:
        folder = cluster.folder / "checkpoint"
        weights = talking_weights(CONFIG, SAYS)
        write_hugging_face_checkpoint(folder, CONFIG, weights=weights, dtype="float32")
        for name in ("config.json", "generation_config.json"):
            if (path := folder / name).exists():
                values = json.loads(path.read_text())
                path.write_text(json.dumps(values | {"bos_token_id": None, "eos_token_id": None}))
        shutil.copy(PARITY / "tokenizers" / "qwen-3.json", folder / "tokenizer.json")
        config = goldens()["tokenizers"]["qwen-3"]["config"]
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
        made = cluster.run("shard", str(folder), "--out", str(cluster.folder / "store"))
        assert (made.code, "note: " in made.err) == (0, False), made
        cluster.up(str(cluster.folder / "store"), "--local", "2")
        yield cluster


def test_a_pipe_gets_thought_and_answer_as_they_are(thinking):
    answered = thinking.prompt("fox")
    assert (answered["text"], answered["finish_reason"]) == ("<think>a</think>b", "eos")
    assert answered["prompt_ids"][0] == START  # Qwen begins with no id of its own
    assert thinking.run("prompt", "fox").out == "<think>a</think>b\n"


def test_a_text_that_is_continued_begins_with_itself(thinking):
    assert thinking.prompt("a", "--raw", "--max-tokens", "1")["prompt_ids"] == [A]


@pytest.mark.parametrize("words", [["prompt", "fox"], ["chat"]], ids=["prompt", "chat"])
def test_a_terminal_shows_the_thought_dimmed(thinking, words):
    env = thinking.env | {"TERM": "xterm"}
    with Terminal(thinking.words(*words), env, columns=80) as terminal:
        if words == ["chat"]:
            terminal.until(">>> ")
            terminal.type("fox\r")
        terminal.until(DIM)
        assert terminal.until(NOT_DIM) == "<think>a</think>"
        terminal.until("b")


def test_a_model_is_told_to_think_or_not(thinking):
    assert thinking.prompt("fox", "--think", "off")["text"] == "c"
    assert thinking.prompt("fox", "--think", "on")["text"] == "<think>a</think>b"
    assert thinking.run("chat", "--think", "off", stdin=b"fox\nfox\n").out == "c\nc\n"


@pytest.mark.parametrize("words", [("fox", "--raw"), ("--ids", "5,6")])
def test_thinking_is_switched_in_a_chat_alone(thinking, words):
    outcome = thinking.run("prompt", *words, "--think", "off")
    assert outcome.code == 1 and "only a chat template switches thinking" in outcome.err


def test_a_template_without_a_switch_says_so(story):
    for words in (("prompt", "fox"), ("chat",)):
        outcome = story.run(*words, "--think", "on")
        assert (outcome.code, outcome.out) == (1, "")
        assert "no switch for thinking" in outcome.err


def test_the_next_turn_of_a_chat_does_not_hold_what_was_thought_before(thinking):
    outcome = thinking.run("chat", "--verbose", stdin=b"fox\nfox\n")
    counts = [
        int(line.split()[3])
        for line in outcome.err.splitlines()
        if line.startswith("prompt eval count")
    ]
    history = ["fox", "b", "fox"]
    chat = [
        {"role": role, "content": text}
        for role, text in zip(("user", "assistant", "user"), history, strict=True)
    ]
    assert counts[1] == len(thinking.record().text_model().chat_ids(chat))


@pytest.mark.parametrize(
    ("begun", "is_thought"),
    [("<think>" + "a b " * 40, True), ("<think>a</think>b", False), ("b", False)],
)
def test_a_begun_thought_is_gone_on_with_as_a_thought(thinking, begun, is_thought):
    turns = [{"role": "user", "content": "fox"}, {"role": "assistant", "content": begun}]
    model = thinking.record().text_model()
    question = make_question(model, turns, generation_options(), (), print, continues=True)
    assert question.begins_in_thought == is_thought
    # Of an answer whose thought is over, the template leaves that out.
    written = f"assistant\n{begun.rpartition('</think>')[2]}"
    assert model.text_of(question.prompt_ids).endswith(written)

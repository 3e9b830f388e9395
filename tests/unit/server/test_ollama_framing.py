"""Answers as Ollama's clients read them."""

import json

import pytest

from pi_cluster.coordinator.asking.answer import Answer
from pi_cluster.coordinator.asking.asked import Piece
from pi_cluster.coordinator.asking.parts import Called, Said, Thought
from pi_cluster.coordinator.calling.tools import ToolCall
from pi_cluster.coordinator.finish_reason import FinishReason
from pi_cluster.coordinator.timings import Timings
from pi_cluster.server.asking.gathering import Gathered
from pi_cluster.server.asking.reply import Ended, Grown
from pi_cluster.server.http.refusal import Refusal
from pi_cluster.server.ollama.answers import ChatFrame, GenerateFrame
from pi_cluster.server.ollama.framing import AnswerFrames, AnswerLines, AnswerObject
from pi_cluster.server.ollama.likelihoods import Likelihoods

NO_LIKELIHOODS = Likelihoods(None, continuation=False)
CALLS = [ToolCall("abcdefghi", "look", '{\n"at": "sky"}'), ToolCall("bcdefghij", "end", "{}")]
CALLED = [
    {"id": "abcdefghi", "function": {"index": 0, "name": "look", "arguments": {"at": "sky"}}},
    {"id": "bcdefghij", "function": {"index": 1, "name": "end", "arguments": {}}},
]


def answer(reason=FinishReason.EOS):
    times = Timings(0.25, 0.5, 1.0, 0.75, prompt_tokens=3, generated_tokens=2)
    return Answer("hi", [5, 6], [1, 2, 3], reason, times, (), 0)


def lines_of(kind=ChatFrame, *, raw=False):
    return AnswerLines(AnswerFrames(kind, "pi", raw=raw), NO_LIKELIHOODS)


def object_of(parts, kind=ChatFrame, *, raw=False):
    form = AnswerObject(AnswerFrames(kind, "pi", raw=raw), NO_LIKELIHOODS)
    return json.loads(form.whole([Gathered(answer(), parts)]))


def grown(lines, *parts):
    text = "".join(part.text for part in parts if not isinstance(part, Called))
    line = lines.event(Grown(0, Piece(text, parts)))
    assert not line or (line.endswith(b"\n") and line.count(b"\n") == 1)
    return json.loads(line) if line else None


def test_a_thought_has_a_field_of_its_own_and_no_tags():
    lines = lines_of()
    assert grown(lines, Thought("<think>")) is None
    assert grown(lines, Thought("Hm"))["message"] == {
        "role": "assistant",
        "content": "",
        "thinking": "Hm",
    }
    said = grown(lines, Thought("</think>"), Said("\n\nHi"))["message"]
    assert said == {"role": "assistant", "content": "Hi"}
    lines = lines_of(GenerateFrame)
    told = grown(lines, Thought("<think>Hm"))
    assert (told["response"], told["thinking"]) == ("", "Hm")


def test_a_raw_text_keeps_its_tags():
    lines = lines_of(GenerateFrame, raw=True)
    told = grown(lines, Thought("<think>Hm</think>"), Said("Hi"))
    assert told["response"] == "<think>Hm</think>Hi" and "thinking" not in told


def test_calls_are_counted_and_their_arguments_are_objects():
    lines = lines_of()
    said = grown(lines, Said("Let me look."), Called(CALLS[0]))["message"]
    assert said["content"] == "Let me look." and said["tool_calls"] == CALLED[:1]
    assert grown(lines, Called(CALLS[1]))["message"]["tool_calls"] == CALLED[1:]
    last = json.loads(lines.event(Ended(0, answer())))
    assert last["message"] == {"role": "assistant", "content": ""} and last["done_reason"] == "stop"


def test_half_a_character_in_arguments_is_told_as_a_broken_one():
    call = Called(ToolCall("abcdefghi", "look", '{"at": "\\ud83d"}'))
    (told,) = grown(lines_of(), call)["message"]["tool_calls"]
    assert told["function"]["arguments"] == {"at": "\ufffd"}


def test_a_whole_answer_has_all_its_parts_and_its_figures_in_nanoseconds():
    told = object_of([Thought("Hm"), Said("Hi"), *map(Called, CALLS)])
    assert told["message"] == {
        **{"role": "assistant", "content": "Hi", "thinking": "Hm"},
        "tool_calls": CALLED,
    }
    assert told["load_duration"] == 250_000_000 and told["eval_duration"] == 1_000_000_000
    assert (told["prompt_eval_count"], told["prompt_eval_duration"]) == (3, 500_000_000)
    assert told["eval_count"] == 2 and told["done"] is True
    assert told["created_at"].endswith("Z")
    assert object_of([Said("Hi")], GenerateFrame)["response"] == "Hi"


def test_a_silence_adds_nothing_and_is_no_blank_line():
    told = json.loads(lines_of().silence(None))
    assert told["message"] == {"role": "assistant", "content": ""} and told["done"] is False
    assert json.loads(lines_of(GenerateFrame).silence(None))["response"] == ""


def test_an_error_is_a_line_with_a_text():
    line = lines_of().failure(Refusal(503, "busy", "come back"))
    assert json.loads(line) == {"error": "come back"} and line.endswith(b"\n")


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        (FinishReason.STOP, "stop"),
        (FinishReason.LENGTH, "length"),
        (FinishReason.CONTEXT, "length"),
    ],
)
def test_why_an_answer_ended_is_told_in_ollamas_words(reason, told):
    assert json.loads(lines_of().event(Ended(0, answer(reason))))["done_reason"] == told


def test_an_answer_that_the_server_cut_off_is_none():
    with pytest.raises(Refusal, match="ask again"):
        lines_of().event(Ended(0, answer(FinishReason.INTERRUPTED)))

"""Turns of a chat, with calls and their results matched."""

import pytest

from pi_cluster.coordinator.calling.turns import checked_turns
from pi_cluster.transformer.errors import PromptError

ASKED = {"role": "user", "content": "Is it hot in Paris?"}


def called(*calls):
    return {"role": "assistant", "content": None, "tool_calls": list(calls)}


def call(name, arguments, **more):
    return {"type": "function", "function": {"name": name, "arguments": arguments}, **more}


def result(content="20", **more):
    return {"role": "tool", "content": content, **more}


def test_arguments_are_objects_and_ids_have_nine_letters_the_same_in_call_and_result():
    made = call("heat", '{"city": "Paris"}', id="call_0123456789abcdef")
    asked, answered, told = checked_turns(
        [ASKED, called(made), result(tool_call_id="call_0123456789abcdef")]
    )
    assert asked == ASKED
    (one,) = answered["tool_calls"]
    assert one["function"] == {"name": "heat", "arguments": {"city": "Paris"}}
    assert len(one["id"]) == 9 and one["id"].isalnum() and answered["content"] == ""
    assert told == {**result(), "tool_call_id": one["id"], "name": "heat"}


def test_half_a_character_in_arguments_does_not_end_a_conversation():
    (turn,) = checked_turns([called(call("heat", '{"city": "\\ud83d", "at": "\\ud83d\\ude00"}'))])
    read = turn["tool_calls"][0]["function"]["arguments"]
    assert read == {"city": "\ufffd", "at": "😀"}


def test_an_id_that_templates_take_stays():
    made = call("heat", {}, id="aB3456789")
    assert checked_turns([ASKED, called(made)])[1]["tool_calls"][0]["id"] == "aB3456789"


@pytest.mark.parametrize("written", ["[1]", "{", "[" * 100_000])
def test_what_a_model_wrote_that_is_no_object_stays_as_it_was(written):
    (turn,) = checked_turns([called(call("heat", written))])
    assert turn["tool_calls"][0]["function"]["arguments"] == written


def test_results_without_ids_are_of_the_first_call_that_has_none_or_of_their_name():
    made = [call("heat", {}), call("rain", {}), call("heat", {"city": "Rome"})]
    results = [result("2"), result("dry", name="rain"), result("3")]
    turns = checked_turns([ASKED, called(*made), *results])
    ids = [one["id"] for one in turns[1]["tool_calls"]]
    assert [turn["tool_call_id"] for turn in turns[2:]] == ids
    assert [turn["name"] for turn in turns[2:]] == ["heat", "rain", "heat"]


@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        ([{"role": "user"}], "a turn has a role and a content"),
        ([{"role": "user", "content": 3}], "a turn has a role and a content"),
        ([{"content": "hi"}], "a turn has a role and a content"),
        ([{**called(call("heat", {})), "role": "user"}], "only the assistant does"),
        ([called({"id": "1"})], 'a call in turn 1 is not {"function"'),
        ([called(call("heat", [1]))], "the arguments of 'heat' in turn 1 are no JSON object"),
        ([ASKED, result(tool_call_id="x")], "turn 2 is the result of call 'x'"),
        ([ASKED, called(call("heat", {})), result(), result()], "or which has one already"),
        ([ASKED, called(call("heat", {})), result(name="rain")], "which no earlier turn made"),
        ([{"role": "assistant", "content": "", "tool_calls": 3}], "are no list"),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_turn(turns, reason):
    with pytest.raises(PromptError) as refused:
        checked_turns(turns)
    assert reason in str(refused.value)

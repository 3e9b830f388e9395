"""Function calling by OpenAI's API on a real server, with OpenAI's own client."""

import json

import openai
import pytest

from tests.support.asking import FOX
from tests.support.event_stream import DONE, parse, posting

HEAT = {
    "type": "function",
    "function": {
        "name": "heat",
        "description": "How hot it is.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 8}},
            "required": ["city"],
        },
    },
}
NOW = {"type": "function", "function": {"name": "now"}}
SAID = [{"role": "user", "content": FOX}]
ASKED = {"model": "any", "temperature": 0, "max_tokens": 80, "messages": SAID}
NAMED = {"type": "function", "function": {"name": "heat"}}


@pytest.fixture(scope="module")
def client(served_story):
    with openai.OpenAI(base_url=f"{served_story.url}/v1", api_key="none", max_retries=0) as made:
        yield made


def test_a_named_tool_is_called_with_what_its_schema_wants(client):
    one = {"tool_choice": NAMED, "parallel_tool_calls": False}
    (choice,) = client.chat.completions.create(tools=[NOW, HEAT], **one, **ASKED).choices
    (call,) = choice.message.tool_calls
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    assert call.type == "function" and call.function.name == "heat"
    assert list(json.loads(call.function.arguments)) == ["city"]


def test_a_stream_has_each_call_whole_in_one_chunk_and_the_same_as_the_whole_answer(client):
    asked = ASKED | {"tools": [NOW, HEAT], "tool_choice": "required"}
    (whole,) = client.chat.completions.create(**asked).choices
    with client.chat.completions.create(stream=True, **asked) as stream:
        chunks = [chunk.choices[0] for chunk in stream]
    called = [call for chunk in chunks for call in chunk.delta.tool_calls or []]
    assert [call.index for call in called] == list(range(len(whole.message.tool_calls)))
    assert [(call.function.name, call.function.arguments) for call in called] == [
        (call.function.name, call.function.arguments) for call in whole.message.tool_calls
    ]
    assert len({call.id for call in called}) == len(called)
    assert chunks[-1].finish_reason == whole.finish_reason


def test_a_tool_without_parameters_is_called_with_an_empty_object(client):
    named = {"type": "function", "function": {"name": "now"}}
    (choice,) = client.chat.completions.create(tools=[NOW], tool_choice=named, **ASKED).choices
    assert choice.message.tool_calls[0].function.arguments == "{}"


def test_what_came_of_a_call_is_told_and_the_model_goes_on(client):
    asked = ASKED | {"tools": [HEAT]}
    one = {"tool_choice": NAMED, "parallel_tool_calls": False}
    (first,) = client.chat.completions.create(**one, **asked).choices
    (call,) = first.message.tool_calls
    turns = [*SAID, first.message, {"role": "tool", "tool_call_id": call.id, "content": "20"}]
    (second,) = client.chat.completions.create(**asked | {"messages": turns}).choices
    assert second.message.content or second.message.tool_calls


def test_without_a_choice_of_tools_an_answer_is_text_or_calls_and_never_both_spelt_out(client):
    (choice,) = client.chat.completions.create(tools=[HEAT], **ASKED).choices
    said = choice.message.content or ""
    assert "tool_calls" not in said and '{"response"' not in said


def test_no_tools_are_told_where_none_may_be_called(client):
    plain = client.chat.completions.create(**ASKED).choices[0].message.content
    none = client.chat.completions.create(tools=[HEAT], tool_choice="none", **ASKED)
    assert none.choices[0].message.content == plain


def test_an_answer_that_is_cut_off_within_a_call_is_told_as_cut_off(served_story, client):
    # So does Home Assistant look whether a server knows tools and streams.
    asked = ASKED | {"tools": [HEAT], "max_tokens": 3}
    (choice,) = client.chat.completions.create(**asked).choices
    assert choice.finish_reason == "length"
    with posting(served_story, "/v1/chat/completions", asked | {"stream": True}) as got:
        *events, last = parse(got)
    assert last == DONE and events[-1]["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize(
    ("fields", "at_fault", "reason"),
    [
        ({"tools": [{"type": "web_search"}]}, "tools", "a tool is a Tool, or"),
        ({"tools": [HEAT, HEAT]}, "tools", "two tools are named heat"),
        ({"tools": [HEAT], "tool_choice": "rain"}, "tool_choice", "tool_choice is 'rain'"),
        ({"tools": [HEAT], "tool_choice": {"type": "custom"}}, "tool_choice", "names a function"),
        (
            {"tools": [{"type": "function", "function": {"name": "a b"}}]},
            "tools",
            "a tool is named 'a b'",
        ),
        (
            {"messages": [*SAID, {"role": "tool", "tool_call_id": "x", "content": "1"}]},
            "messages",
            "turn 2 is the result of call 'x'",
        ),
        ({"functions": [{"name": "heat"}]}, "functions", "send `tools`"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words_and_by_its_field(client, fields, at_fault, reason):
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(**ASKED | {"extra_body": fields})
    assert reason in refused.value.message
    assert refused.value.param == at_fault

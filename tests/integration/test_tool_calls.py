"""Calls of tools, asked of a whole pipeline as a library; its model was taught no form for them."""

import asyncio
import json

import jsonschema
import pytest

from pi_cluster import (
    AsyncPipelineClient,
    FinishReason,
    PipelineClient,
    PromptError,
    Tool,
)

LEVEL = {"type": "integer", "minimum": 0, "maximum": 100}
LAMP = Tool(
    "turn_on",
    "Turn a lamp on.",
    {
        "type": "object",
        "properties": {"name": {"enum": ["kitchen", "hall"]}, "level": LEVEL},
        "required": ["name"],
    },
)
NOW = Tool("now", "Tell the time.")
TOOLS = {tool.name: tool for tool in (LAMP, NOW)}
ASKED = "Turn the lamp in the kitchen on."
SETTINGS = {"tools": [LAMP, NOW], "max_tokens": 150, "temperature": 1.0}


@pytest.fixture
def client(story):
    with story.environment(), PipelineClient.connect(story.name) as connected:
        yield connected


def called(answer):
    return [(call.name, call.arguments) for call in answer.tool_calls]


@pytest.mark.parametrize("choice", ["required", "turn_on", "now"])
def test_an_answer_that_has_to_call_does_and_is_the_same_without_guesses(client, choice):
    for seed in range(3):
        settings = {**SETTINGS, "tool_choice": choice, "seed": seed, "parallel_tool_calls": False}
        answer = client.ask(ASKED, **settings)
        assert answer.finish_reason is FinishReason.EOS
        assert answer.text == ""
        ((name, arguments),) = called(answer)
        assert choice in ("required", name)
        jsonschema.validate(json.loads(arguments), TOOLS[name].parameters)
        again = client.ask(ASKED, **settings, draft=False)
        assert (again.ids, called(again)) == (answer.ids, called(answer))


def test_an_answer_that_need_not_call_says_something_or_calls(client):
    seen = set()
    for seed in range(12):
        stream = client.stream(ASKED, **{**SETTINGS, "temperature": 5.0}, seed=seed)
        text = "".join(stream)
        answer = stream.answer
        assert answer.text == text
        assert "response" not in text
        seen.add(bool(answer.tool_calls))
    assert seen == {True, False}


def test_tools_as_apis_give_them_are_the_same(client):
    given = {**SETTINGS, "tool_choice": "required", "seed": 1}
    as_json = {**given, "tools": [tool.to_json() for tool in (LAMP, NOW)]}
    assert client.ask(ASKED, **as_json).ids == client.ask(ASKED, **given).ids


def test_a_chat_goes_on_with_what_came_of_its_calls(client):
    first = client.ask(ASKED, **SETTINGS, tool_choice="turn_on", seed=1, parallel_tool_calls=False)
    (call,) = first.tool_calls
    function = {"name": call.name, "arguments": call.arguments}
    chat = [
        {"role": "user", "content": ASKED},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": call.id, "function": function}],
        },
        {"role": "tool", "tool_call_id": call.id, "content": "It is on."},
    ]
    question = client.question(chat, **SETTINGS)
    shown = client.model.text_of(question.prompt_ids)
    assert "turn_on has returned: It is on." in shown
    # What was answered stands there as it was, so that it need not be computed again.
    assert client.model.text_of(first.ids) in shown
    assert client.ask(chat, **SETTINGS, tool_choice="none", seed=1).tool_calls == []


def test_a_task_gets_calls_too(story):
    async def ask():
        async with AsyncPipelineClient.connect(story.name) as client:
            return await client.ask(ASKED, **SETTINGS, tool_choice="now", seed=2)

    with story.environment():
        answer = asyncio.run(ask())
    assert called(answer)[0] == ("now", "{}")


def test_an_answer_that_is_cut_off_within_a_call_loses_none_of_it(client):
    answer = client.ask(ASKED, **{**SETTINGS, "max_tokens": 3}, tool_choice="required")
    assert answer.finish_reason is FinishReason.LENGTH
    assert not answer.tool_calls
    assert answer.text.startswith("{")


def test_what_cannot_be_asked_is_refused_before_anything_is(client):
    with pytest.raises(PromptError, match="tool_choice is 'turn_off'"):
        client.question(ASKED, **SETTINGS, tool_choice="turn_off")
    with pytest.raises(PromptError, match="takes tools or a schema, not both"):
        client.question(ASKED, **SETTINGS, schema={"type": "object"})

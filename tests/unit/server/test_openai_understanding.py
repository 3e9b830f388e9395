"""What OpenAI's clients write, in the words of the Python API."""

import json

import msgspec
import pytest

from pi_cluster.server.http.refusal import Refusal
from pi_cluster.server.openai.requests import ChatRequest, CompletionRequest
from pi_cluster.server.openai.understanding import chat_ask, completion_asks


def read(said, kind):
    return msgspec.json.decode(json.dumps(said), type=kind)


def asked(can_think=False, **fields):
    said = {"messages": [{"role": "user", "content": "hi"}], **fields}
    return chat_ask(read(said, ChatRequest), can_think=can_think)


def continued(**fields):
    return completion_asks(read(fields, CompletionRequest))


@pytest.mark.parametrize(
    ("fields", "keywords"),
    [
        ({}, {}),
        ({"temperature": None, "stop": None, "n": None}, {}),
        ({"max_tokens": 5}, {"max_tokens": 5}),
        ({"max_tokens": 5, "max_completion_tokens": 7}, {"max_tokens": 7}),
        ({"max_tokens": 5, "max_completion_tokens": 0}, {"max_tokens": 0}),
        ({"max_tokens": -1}, {}),
        ({"seed": -1}, {}),
        ({"seed": 3}, {"seed": 3}),
        ({"top_p": 0}, {"top_p": 1e-9}),
        ({"top_k": -1}, {"top_k": 0}),
        ({"repetition_penalty": 1.1}, {"repeat_penalty": 1.1}),
        ({"logprobs": True}, {"logprobs": 0}),
        ({"logprobs": True, "top_logprobs": 4}, {"logprobs": 4}),
        ({"logit_bias": {"7": -100}}, {"logit_bias": {7: -100}}),
        ({"response_format": {"type": "text"}}, {}),
        ({"response_format": {"type": "json_object"}}, {"schema": {"type": "object"}}),
        ({"stop": "x"}, {"stop": "x"}),
        ({"stop": []}, {}),
    ],
)
def test_each_field_has_its_keyword(fields, keywords):
    assert asked(**fields).keywords == keywords


@pytest.mark.parametrize(
    ("fields", "think"),
    [
        ({"chat_template_kwargs": {"enable_thinking": False}}, False),
        ({"chat_template_kwargs": {"thinking": True, "other": 1}}, True),
        ({"reasoning_effort": "none"}, False),
        ({"reasoning_effort": "low"}, True),
        (
            {"reasoning_effort": "low", "chat_template_kwargs": {"enable_thinking": False}},
            False,
        ),
    ],
)
def test_thinking_is_switched_where_the_model_has_a_switch(fields, think):
    assert asked(can_think=True, **fields).keywords == {"think": think}
    assert asked(can_think=False, **fields).keywords == {}


def test_messages_become_turns():
    call = {"id": "a1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    said = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": parts},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "2", "tool_call_id": "a1"},
    ]
    turns = asked(messages=said).prompt
    function = {"name": "f", "arguments": '{"x": 1}'}
    assert turns == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "a\nb"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "a1", "type": "function", "function": function}],
        },
        {"role": "tool", "content": "2", "tool_call_id": "a1"},
    ]


def test_prompts_are_texts_or_ids_or_lists_of_either():
    assert [ask.prompt for ask in continued(prompt="a")] == ["a"]
    assert [ask.prompt for ask in continued(prompt=[1, 2])] == [[1, 2]]
    assert [ask.prompt for ask in continued(prompt=["a", [1, 2]], n=2)] == ["a", [1, 2]]
    for prompt in ([], ["a", 1], ["a"] * 17):
        with pytest.raises(Refusal) as told:
            continued(prompt=prompt)
        assert told.value.field_name == "prompt"


@pytest.mark.parametrize("field", ["echo", "suffix", "best_of", "grammar"])
def test_what_is_not_offered_is_refused_by_its_name(field):
    value = {"echo": True, "suffix": "x", "best_of": 3, "grammar": "root ::= x"}[field]
    with pytest.raises(Refusal) as told:
        continued(prompt="a", **{field: value})
    assert told.value.field_name == field and field in told.value.message

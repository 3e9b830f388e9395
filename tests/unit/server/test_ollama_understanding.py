"""What Ollama's clients write, in the words of the Python API."""

import json
from dataclasses import replace

import msgspec
import pytest

from pi_cluster.server.asking.model_card import ModelCard
from pi_cluster.server.http.refusal import Refusal
from pi_cluster.server.ollama.messages import turns_of
from pi_cluster.server.ollama.requests import GenerateRequest, OllamaChatRequest, OllamaMessage
from pi_cluster.server.ollama.understanding import chat_ask, generate_ask
from tests.support.checkpoints import small_config

PLAIN = ModelCard(
    *("pi", 0, "0" * 64, 1, 512, small_config(n_layers=2), ("q4",)),
    **{"has_chat": True, "can_think": False, "can_switch_thinking": False},
)
THINKS = replace(PLAIN, can_think=True)
SWITCHES = replace(THINKS, can_switch_thinking=True)
HI = [{"role": "user", "content": "hi"}]


def read(said, kind):
    return msgspec.json.decode(json.dumps(said), type=kind)


def asked(card=PLAIN, **fields):
    return chat_ask(read({"model": "pi", "messages": HI, **fields}, OllamaChatRequest), card)


def continued(card=PLAIN, **fields):
    return generate_ask(read({"model": "pi", "prompt": "hi", **fields}, GenerateRequest), card)


@pytest.mark.parametrize(
    ("options", "keywords"),
    [
        ({}, {}),
        ({"num_predict": None, "temperature": None, "stop": None}, {}),
        ({"num_ctx": 8192, "num_gpu": 1, "mirostat": 2, "repeat_last_n": 64}, {}),
        ({"num_predict": 5}, {"max_tokens": 5}),
        ({"num_predict": -1}, {}),
        ({"num_predict": -2}, {}),
        ({"temperature": 0, "min_p": 0.1}, {"temperature": 0, "min_p": 0.1}),
        ({"top_k": 20, "top_p": 0}, {"top_k": 20, "top_p": 1e-9}),
        ({"top_k": -1}, {"top_k": 0}),
        ({"repeat_penalty": 1.1}, {"repeat_penalty": 1.1}),
        (
            {"presence_penalty": 0.5, "frequency_penalty": -1},
            {"presence_penalty": 0.5, "frequency_penalty": -1},
        ),
        ({"seed": -1}, {}),
        ({"seed": 3}, {"seed": 3}),
        ({"stop": ["a", "b"]}, {"stop": ["a", "b"]}),
        ({"stop": "a"}, {"stop": "a"}),
    ],
)
def test_options_are_keywords_and_those_of_ollamas_own_computing_are_none(options, keywords):
    assert asked(options=options).keywords == keywords
    assert continued(options=options).keywords == keywords


@pytest.mark.parametrize(
    ("fields", "keywords"),
    [
        ({"format": "json"}, {"schema": {"type": "object"}}),
        ({"format": {"type": "array"}}, {"schema": {"type": "array"}}),
        ({"format": ""}, {}),
        ({"logprobs": True}, {"logprobs": 0}),
        ({"logprobs": True, "top_logprobs": 3}, {"logprobs": 3}),
        ({"top_logprobs": 3}, {}),
        ({"keep_alive": -1, "truncate": True, "shift": False, "options": None}, {}),
    ],
)
def test_a_request_says_the_form_of_its_answer(fields, keywords):
    assert asked(**fields).keywords == keywords
    assert continued(**fields).keywords == keywords


@pytest.mark.parametrize(
    ("card", "think", "keywords"),
    [
        (PLAIN, None, {}),
        (PLAIN, False, {}),
        (THINKS, False, {}),
        (THINKS, True, {}),
        (SWITCHES, None, {}),
        (SWITCHES, False, {"think": False}),
        (SWITCHES, True, {"think": True}),
        (SWITCHES, "high", {"think": True}),
    ],
)
def test_only_a_model_with_a_switch_is_told_whether_to_think(card, think, keywords):
    assert asked(card, think=think).keywords == keywords
    assert continued(card, think=think).keywords == keywords


def test_a_raw_text_has_no_template_that_could_switch_thinking():
    assert continued(SWITCHES, raw=True, think=True).keywords == {"raw": True}


def test_a_system_text_makes_a_chat_of_a_text():
    assert continued().prompt == "hi"
    assert continued(system="be brief").prompt == [{"role": "system", "content": "be brief"}, *HI]


def test_tools_go_on_as_they_are():
    tool = {"type": "function", "function": {"name": "look"}}
    assert asked(tools=[tool]).keywords == {"tools": [tool]}
    assert asked(tools=[]).keywords == {}


def test_a_last_message_of_the_assistant_is_gone_on_with():
    turns = [*HI, {"role": "assistant", "content": "Hel"}]
    ask = asked(messages=turns)
    assert (ask.prompt, ask.keywords) == (turns, {"continues": True})


def test_results_alone_are_no_chat():
    with pytest.raises(Refusal, match="send the whole conversation"):
        asked(messages=[{"role": "tool", "content": "{}"}])


def test_calls_and_results_keep_what_is_said_of_them():
    called = {"function": {"name": "look", "arguments": {"at": "sky"}}}
    said = [
        {"role": "assistant", "content": None, "tool_calls": [called, {"id": "one", **called}]},
        {"role": "tool", "content": "blue", "tool_name": "look"},
        {"role": "tool", "content": "grey", "tool_call_id": "one"},
    ]
    assert turns_of(read(said, list[OllamaMessage])) == [
        {
            **{"role": "assistant", "content": ""},
            "tool_calls": [
                {"type": "function", **called},
                {"type": "function", "id": "one", **called},
            ],
        },
        {"role": "tool", "content": "blue", "name": "look"},
        {"role": "tool", "content": "grey", "tool_call_id": "one"},
    ]


def test_results_whose_calls_a_client_cut_off_are_left_out():
    """Home Assistant keeps the system text and some of the last messages."""
    system, answer = {"role": "system", "content": "x"}, {"role": "assistant", "content": "On."}
    said = [system, {"role": "tool", "content": "{}"}, answer, *HI]
    assert turns_of(read(said, list[OllamaMessage])) == [system, answer, *HI]

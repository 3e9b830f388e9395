"""Chats with tools, as templates take them: told of, called, answered."""

import json

import pytest

from pi_cluster.coordinator.calling.turns import checked_turns
from pi_cluster.transformer.errors import PromptError
from pi_cluster.transformer.text.added_tokens import AddedToken
from pi_cluster.transformer.text.chat_template import ChatTemplate
from pi_cluster.transformer.text.loading import load_sentencepiece
from tests.support.small_tokenizers import STORYTELLER

TAG = "<tool_call>"
TOKENIZER = load_sentencepiece(STORYTELLER, [AddedToken(2_050, TAG, False)], 2_059, legacy=False)
TOLD = "{% if tools %}{{ tools | tojson }}{% endif %}"
CALLED = (
    "{% for message in messages %}{{ message.role }}: {{ message.content }}"
    "{% for call in message.tool_calls or [] %}<tool_call>{{ ARGUMENTS }} {{ call.id }}"
    "{% endfor %}{% if message.role == 'tool' %} of {{ message.tool_call_id }}{% endif %}; "
    "{% endfor %}"
)
AS_OBJECT = CALLED.replace("ARGUMENTS", "call.function.arguments | tojson")
AS_TEXT = CALLED.replace("ARGUMENTS", "'' + call.function.arguments")
TOOL = {
    "type": "function",
    "function": {"name": "on", "parameters": {"properties": {TAG: {"enum": [f"a {TAG}"]}}}},
}


def chat(arguments, call_id="call_1"):
    call = {"id": call_id, "type": "function", "function": {"name": "on", "arguments": arguments}}
    return [
        {"role": "user", "content": "On!"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call_id, "content": f"done {TAG}"},
    ]


def text_of(template, messages, tools=()):
    ids = ChatTemplate(template, TOKENIZER).encode(checked_turns(messages), tools=tools)
    return TOKENIZER.decode(ids), ids.count(2_050)


def test_tools_are_told_and_none_of_their_words_is_a_control_token():
    text, tags = text_of(TOLD, chat("{}"), [TOOL])
    assert json.loads(text) == [TOOL]
    assert tags == 0
    assert text_of(TOLD + "-", chat("{}")) == ("-", 0)
    assert ChatTemplate(TOLD, TOKENIZER).takes_tools
    assert not ChatTemplate(AS_TEXT, TOKENIZER).takes_tools


@pytest.mark.parametrize("template", [AS_OBJECT, AS_TEXT])
@pytest.mark.parametrize("given", ['{"level": 7}', {"level": 7}])
def test_arguments_are_what_the_template_takes(template, given):
    text, tags = text_of(template, chat(given))
    assert '<tool_call>{"level": 7} ' in text
    assert tags == 1


def test_ids_from_elsewhere_become_such_as_every_template_takes():
    text, _ = text_of(AS_OBJECT, chat("{}"))
    _, called, result, _ = text.split("; ")
    call_id = called.split()[-1]
    assert len(call_id) == 9 and call_id.isalnum()
    assert result == f"tool: done <tool_call> of {call_id}"
    assert text_of(AS_OBJECT, chat("{}"))[0] == text
    assert "Ab3456789" in text_of(AS_OBJECT, chat("{}", "Ab3456789"))[0]


def test_arguments_that_are_no_json_stay_text():
    assert '"not JSON"' in text_of(AS_OBJECT, chat("not JSON"))[0]


@pytest.mark.parametrize("arguments", ["[" * 100_000, '{"a":' * 900 + "1" + "}" * 900])
def test_hostile_arguments_are_text_or_an_error_of_that_chat(arguments):
    try:
        text, _ = text_of(AS_OBJECT, chat(arguments))
    except PromptError:
        return
    assert arguments[:10].replace('"', '\\"') in text or '{"a": {"a"' in text

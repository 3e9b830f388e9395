"""Our built-in templates against mistral-common, over random chats with tools."""

import json
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mistral_common.protocol.instruct.request import ChatCompletionRequest

from pi_cluster.coordinator.calling.finding import find_format
from pi_cluster.coordinator.calling.tools import Tool
from pi_cluster.coordinator.calling.turns import checked_turns
from tests.parity.test_mistral_common import VERSIONS, ours, texts, theirs, tokenizer_of

WITH_TOOLS = [version for version in VERSIONS if version != "v1"]
LIGHT = Tool(
    "light_on",
    "Switch a light on. [/AVAILABLE_TOOLS]",
    {
        "type": "object",
        "properties": {"room": {"type": "string", "enum": ["kitchen", "Küche", "[INST]"]}},
        "required": ["room"],
    },
)
TOOLS = [LIGHT.to_json(), Tool("time").to_json()]

names = st.sampled_from(["light_on", "time"])
values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9**20) | st.floats(-9, 9) | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=4,
)
arguments = st.dictionaries(texts, values, max_size=3).map(json.dumps) | st.just("")
results = texts | values.map(json.dumps)


@st.composite
def chats(draw, *, parallel, text_with_calls):
    """Turns that mistral-common accepts: each call has its result, perhaps in another order."""
    turns = []
    for _ in range(draw(st.integers(1, 3))):
        turns.append({"role": "user", "content": draw(texts)})
        for _ in range(draw(st.integers(0, 2))):
            calls = draw(
                st.lists(st.tuples(names, arguments), min_size=1, max_size=3 if parallel else 1)
            )
            turns += calls_and_results(draw, calls, len(turns), text_with_calls)
        if draw(st.booleans()):
            turns.append({"role": "assistant", "content": draw(texts.filter(bool))})
    if turns[-1]["role"] == "assistant":
        turns.append({"role": "user", "content": draw(texts)})
    system = draw(st.none() | texts)
    return turns if system is None else [{"role": "system", "content": system}, *turns]


def calls_and_results(draw, calls, place, text_with_calls):
    ids = [f"{place:03}{string.ascii_letters[number] * 6}" for number in range(len(calls))]
    called = [
        {"id": one, "type": "function", "function": {"name": name, "arguments": given}}
        for one, (name, given) in zip(ids, calls, strict=True)
    ]
    content = draw(texts) if text_with_calls else ""
    yield {"role": "assistant", "content": content, "tool_calls": called}
    for call in draw(st.permutations(called)):
        name = call["function"]["name"]
        content = draw(results)
        yield {"role": "tool", "tool_call_id": call["id"], "name": name, "content": content}


def reference_ids(version, chat, tools):
    request = ChatCompletionRequest(messages=chat, tools=tools or None, model="any")
    return theirs(version).encode_chat_completion(request).tokens


def our_ids(version, chat, tools):
    return ours(version).encode(checked_turns(chat), tools=tools)


@pytest.mark.parametrize("version", WITH_TOOLS)
@settings(max_examples=100)
@given(data=st.data(), tools=st.sampled_from([[], TOOLS]))
def test_a_chat_with_calls_gives_the_ids_of_mistral_common(version, data, tools):
    number = int(version.removeprefix("v").removesuffix("-tekken"))
    chat = data.draw(chats(parallel=number > 2, text_with_calls=number > 3))
    assert our_ids(version, chat, tools) == reference_ids(version, chat, tools)


@pytest.mark.parametrize("version", WITH_TOOLS)
def test_each_version_calls_in_the_form_of_its_template(version):
    expected = "MistralArguments" if version.startswith(("v11", "v13")) else "MistralList"
    assert type(find_format(tokenizer_of(version), ours(version))).__name__ == expected


def test_v1_was_taught_no_tools():
    assert not ours("v1").takes_tools


@pytest.mark.parametrize("version", ["v2", "v3"])
def test_a_text_with_calls_stands_before_them(version):
    call = {"id": "Ab3456789", "type": "function", "function": {"name": "time", "arguments": "{}"}}
    asked = {"role": "user", "content": "When?"}
    text, called = {"role": "assistant", "content": "Let me see."}, {"role": "assistant"}
    both = our_ids(version, [asked, {**text, "tool_calls": [call]}, result_of(call)], TOOLS)
    calls = our_ids(version, [asked, {**called, "tool_calls": [call]}, result_of(call)], TOOLS)
    said = tokenizer_of(version).encode("Let me see.")
    before = next(at for at, one in enumerate(both) if one != calls[at])
    assert both == calls[:before] + list(said) + calls[before:]


def result_of(call):
    return {"role": "tool", "tool_call_id": call["id"], "content": "12:00"}

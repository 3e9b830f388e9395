"""Ollama's chats and texts on a real server, read as strictly as its clients do."""

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import jsonschema
import pytest

from tests.support.asking import ENDLESS_IDS, FOX
from tests.support.event_stream import post, posting
from tests.support.ollama_lines import HomeAssistant, parse

MODEL = "storyteller"
PLACES = 8  # texts as long as these that the caches of the shared server hold at once
LONG = {
    **{"prompt": ENDLESS_IDS, "temperature": 0, "repeat_penalty": 1e9, "stream": True},
    "max_tokens": 4000,
}
GREEDY = {"temperature": 0, "num_predict": 24}
CHAT = {"model": MODEL, "messages": [{"role": "user", "content": FOX}], "options": GREEDY}
TEXT = {"model": MODEL, "prompt": FOX, "options": GREEDY}
KINDS = {
    "type": "object",
    "properties": {"kind": {"enum": ["fox", "dog"]}},
    "required": ["kind"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def alone(served_story):
    """What the command answers to the same."""
    return served_story.cluster.prompt(FOX, "--temperature", "0", "--max-tokens", "24")


def streamed(server, path, body):
    with posting(server, path, body) as response:
        assert response.status == 200
        assert response.headers["content-type"] == "application/x-ndjson"
        return list(parse(response))


def test_a_chat_is_answered_as_the_command_answers_it(served_story, alone):
    status, whole = post(served_story, "/api/chat", {**CHAT, "stream": False})
    assert status == 200
    assert whole["message"] == {"role": "assistant", "content": alone["text"]}
    assert (whole["done"], whole["done_reason"]) == (True, "length")
    assert whole["eval_count"] == 24 and whole["prompt_eval_count"] == len(alone["prompt_ids"])
    spent_ns = whole["prompt_eval_duration"] + whole["eval_duration"]
    assert 0 < spent_ns < whole["total_duration"] and whole["load_duration"] >= 0


def test_answers_are_streamed_unless_that_is_declined(served_story, alone):
    *lines, last = streamed(served_story, "/api/chat", CHAT)
    assert "".join(line["message"]["content"] for line in lines) == alone["text"]
    assert len(lines) > 1 and not any("eval_count" in line for line in lines)
    assert last["message"]["content"] == "" and last["eval_count"] == 24
    *lines, last = streamed(served_story, "/api/generate", TEXT)
    assert "".join(line["response"] for line in lines) == alone["text"]
    assert last["response"] == "" and last["done_reason"] == "length"


def test_a_text_with_a_system_text_is_the_chat_of_both(served_story):
    system = {"role": "system", "content": "You tell stories about dogs."}
    chat = {**CHAT, "messages": [system, *CHAT["messages"]], "stream": False}
    _, wanted = post(served_story, "/api/chat", chat)
    asked = {**TEXT, "system": system["content"], "stream": False}
    _, told = post(served_story, "/api/generate", asked)
    assert told["response"] == wanted["message"]["content"]
    assert told["prompt_eval_count"] == wanted["prompt_eval_count"]


@pytest.mark.parametrize("stream", [True, False])
def test_a_raw_text_is_continued_with_its_space(served_story, stream):
    said = {"prompt": "Once upon a time, there was a", "temperature": 0, "max_tokens": 12}
    _, wanted = post(served_story, "/v1/completions", said)
    asked = {**TEXT, "prompt": said["prompt"], "raw": True, "think": False, "stream": stream}
    asked["options"] = {**GREEDY, "num_predict": 12}
    with posting(served_story, "/api/generate", asked) as response:
        text = "".join(
            line["response"] for line in parse(line.rstrip() + b"\n" for line in response)
        )
    assert text == wanted["choices"][0]["text"] and text.startswith(" ")


def test_a_last_message_of_the_assistant_is_gone_on_with(served_story):
    messages = [*CHAT["messages"], {"role": "assistant", "content": "Once upon a ti"}]
    asked = {**CHAT, "messages": messages, "logprobs": True}
    said = {"messages": messages, "temperature": 0, "max_tokens": 24}
    _, wanted = post(served_story, "/v1/chat/completions", said)
    _, whole = post(served_story, "/api/chat", {**asked, "stream": False})
    text = whole["message"]["content"]
    assert text == wanted["choices"][0]["message"]["content"]
    assert "".join(token["token"] for token in whole["logprobs"]) == text
    lines = streamed(served_story, "/api/chat", asked)
    assert "".join(line["message"]["content"] for line in lines) == text


def test_a_stop_and_a_seed_are_heeded(served_story, alone):
    word = alone["text"].split()[3]
    asked = {**TEXT, "stream": False, "options": {**GREEDY, "stop": [word]}}
    _, told = post(served_story, "/api/generate", asked)
    assert told["response"] == alone["text"].partition(word)[0] and told["done_reason"] == "stop"
    wild = {"temperature": 1.5, "num_predict": 12, "seed": 5}
    texts = [
        post(served_story, "/api/generate", {**TEXT, "stream": False, "options": options})[1]
        for options in (wild, wild, {**wild, "seed": 6})
    ]
    first, same, other = (told["response"] for told in texts)
    assert first == same != other


@pytest.mark.parametrize("path", ["/api/chat", "/api/generate"])
def test_an_answer_follows_a_schema(served_story, path):
    options = {"temperature": 1, "num_predict": 60}
    asked = {**CHAT, **TEXT, "format": KINDS, "stream": False, "options": options}
    _, told = post(served_story, path, asked)
    text = told["message"]["content"] if path == "/api/chat" else told["response"]
    jsonschema.validate(json.loads(text), KINDS)
    assert told["done_reason"] == "stop"


def test_each_token_has_its_probability_whole_and_streamed(served_story, alone):
    asked = {**CHAT, "logprobs": True, "top_logprobs": 2}
    _, whole = post(served_story, "/api/chat", {**asked, "stream": False})
    assert "".join(token["token"] for token in whole["logprobs"]) == alone["text"]
    assert all(len(token["top_logprobs"]) == 2 for token in whole["logprobs"])
    assert bytes(b for token in whole["logprobs"] for b in token["bytes"]).decode() == alone["text"]
    lines = streamed(served_story, "/api/chat", asked)
    assert [token for line in lines for token in line.get("logprobs", ())] == whole["logprobs"]


@pytest.mark.parametrize(
    ("path", "asked", "reason"),
    [
        ("/api/generate", {}, "load"),
        ("/api/generate", {"prompt": "", "keep_alive": "5m"}, "load"),
        ("/api/chat", {"messages": [], "keep_alive": -1}, "load"),
        ("/api/chat", {"keep_alive": 0}, "unload"),
        ("/api/generate", {"keep_alive": "0s"}, "unload"),
    ],
)
def test_without_a_prompt_the_model_is_said_to_be_loaded(served_story, path, asked, reason):
    status, told = post(served_story, path, {"model": f"{MODEL}:latest", **asked})
    assert (status, told["done"], told["done_reason"]) == (200, True, reason)
    assert told["model"] == f"{MODEL}:latest"


@pytest.mark.parametrize(
    ("path", "asked", "status", "words"),
    [
        ("/api/chat", {"model": "llama3"}, 404, "model 'llama3' not found"),
        ("/api/chat", {"model": ""}, 400, "model is required"),
        ("/api/chat", {"think": True}, 400, '"storyteller" does not support thinking'),
        ("/api/chat", {"think": "a lot"}, 400, "invalid think value"),
        ("/api/chat", {"format": "xml"}, 400, 'invalid format: "xml"'),
        ("/api/chat", {"options": {"temperature": "hot"}}, 400, "`options.temperature`"),
        ("/api/chat", {"options": {"temperature": -1}}, 400, "temperature = -1"),
        ("/api/chat", {"top_logprobs": 21}, 400, "`top_logprobs`"),
        ("/api/chat", {"tools": [{"type": "function"}]}, 400, "a tool is"),
        (
            "/api/chat",
            {"messages": [{"role": "user", "content": "x", "images": ["QQ=="]}]},
            *(400, "leave `images` out"),
        ),
        ("/api/generate", {"images": ["QQ=="]}, 400, "leave `images` out"),
        ("/api/generate", {"suffix": "end"}, 400, "does not support insert"),
        ("/api/generate", {"template": "{{ .Prompt }}"}, 400, "leave `template` out"),
        ("/api/generate", {"context": [1, 2]}, 400, "/api/chat"),
        ("/api/generate", {"raw": True, "system": "x"}, 400, "raw mode does not support"),
    ],
)
def test_what_is_not_offered_is_refused_in_a_text(served_story, path, asked, status, words):
    told = post(served_story, path, {**CHAT, **TEXT, **asked})
    assert told[0] == status
    assert list(told[1]) == ["error"] and words in told[1]["error"]


# What Home Assistant's Ollama integration sends, whose setting of the context is for Ollama alone.
HOME = {
    "model": f"{MODEL}:latest",
    "messages": [
        {"role": "system", "content": "You are a voice assistant for Home Assistant."},
        {"role": "user", "content": FOX},
    ],
    **{"stream": True, "keep_alive": -1, "options": {"num_ctx": 8192}, "think": False},
}
LIGHT = {
    "type": "function",
    "function": {
        "name": "HassTurnOn",
        "description": "Turns on a device",
        "parameters": {
            "type": "object",
            "properties": {"name": {"type": "string", "enum": ["kitchen"]}},
            "required": ["name"],
        },
    },
}


def test_home_assistants_ollama_integration_reads_an_answer(served_story):
    reader = HomeAssistant()
    asked = {**HOME, "options": {"num_ctx": 8192, "num_predict": 30}}
    with posting(served_story, "/api/chat", asked) as response:
        reader.read(response)
    assert reader.text and not reader.thought and not reader.calls


def test_home_assistant_has_a_device_turned_on_and_tells_what_came_of_it(served_story):
    """Its results name no tool and its calls have no ids."""
    called = {"function": {"name": "HassTurnOn", "arguments": {"name": "kitchen"}}}
    result = json.dumps({"data": {"success": True}, "error": None})
    history = [
        *HOME["messages"],
        {"role": "assistant", "content": None, "tool_calls": [called]},
        {"role": "tool", "content": result},
    ]
    for messages in (HOME["messages"], history):
        reader = HomeAssistant()
        options = {"num_ctx": 8192, "num_predict": 200, "temperature": 0}
        asked = {**HOME, "messages": messages, "tools": [LIGHT], "options": options}
        with posting(served_story, "/api/chat", asked) as response:
            reader.read(response)
        assert reader.text or reader.calls
        assert all(call == ("HassTurnOn", {"name": "kitchen"}) for call in reader.calls)


def test_open_webui_chats_by_ollamas_api_while_it_asks_for_a_title(served_story):
    chat = {**CHAT, "model": f"{MODEL}:latest", "stream": True, "options": {"num_predict": 30}}
    title = {
        "model": f"{MODEL}:latest",
        "messages": [{"role": "user", "content": "### Task:\nGenerate a concise title. " + FOX}],
        **{"stream": False, "options": {"num_predict": 12}},
    }
    with ThreadPoolExecutor(2) as pool:
        answer = pool.submit(streamed, served_story, "/api/chat", chat)
        asked = pool.submit(post, served_story, "/api/chat", title)
        (*lines, last), (status, told) = answer.result(), asked.result()
    assert status == 200 and told["message"]["content"]
    assert all(line["message"]["role"] == "assistant" for line in lines)
    # Of these it makes the figures below an answer.
    figures = ("total", "load", "prompt_eval", "eval")
    assert all(last[f"{name}_duration"] > 0 for name in figures)
    assert last["eval_count"] == 30


def test_who_waits_is_sent_lines_that_add_nothing(served_story, alone):
    """Asked as one that shows progress, for whom they come at once; else they come every 10 s."""
    with ExitStack() as entered:
        talking = [
            entered.enter_context(posting(served_story, "/v1/completions", LONG))
            for _ in range(PLACES)
        ]
        assert all(next(stream).startswith(b"data: ") for stream in talking)
        options = {"temperature": 0, "num_predict": 500}
        asked = posting(served_story, "/api/chat", {**CHAT, "options": options}, progress=True)
        waiting = entered.enter_context(asked)
        first = json.loads(next(waiting))
        assert first["message"] == {"role": "assistant", "content": ""} and not first["done"]
        for stream in talking:
            stream.close()
        told = (json.loads(line)["message"]["content"] for line in waiting)
        assert alone["text"].startswith(next(filter(None, told)))

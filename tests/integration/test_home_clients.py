"""Home Assistant's and Open WebUI's requests, as their packages send them, read as strictly."""

import urllib.request
from concurrent.futures import ThreadPoolExecutor

from tests.support.asking import FOX
from tests.support.event_stream import parse, post, posting
from tests.support.home_clients import HomeAssistant, OpenWebUI

HOME = {
    "model": "storyteller",
    "messages": [
        {"role": "system", "content": "You are a voice assistant for Home Assistant."},
        {"role": "user", "content": FOX},
    ],
    **{"max_tokens": 30, "top_p": 1.0, "temperature": 0.0, "user": "01JXYZ"},
}
TITLE = {
    "model": "storyteller",
    "messages": [{"role": "user", "content": "### Task:\nGenerate a concise title. " + FOX}],
    **{"stream": False, "max_completion_tokens": 12},
}


def test_home_assistant_reads_a_streamed_answer_and_leaves_at_its_finish(served_story):
    _, whole = post(served_story, "/v1/chat/completions", {**HOME, "stream": False})
    reader = HomeAssistant()
    with posting(served_story, "/v1/chat/completions", {**HOME, "stream": True}) as response:
        reader.read(parse(response))
    assert reader.role == "assistant" and reader.finish == "length"
    assert reader.text == whole["choices"][0]["message"]["content"]


def test_open_webui_chats_while_it_asks_for_a_title(served_story):
    chat = {
        **{"model": "storyteller", "stream": True, "params": {}, "session_id": "x"},
        **{"stream_options": {"include_usage": True}, "temperature": 0, "max_tokens": 30},
        "messages": [{"role": "user", "content": FOX}],
    }

    def streamed():
        reader = OpenWebUI()
        with posting(served_story, "/chat/completions", chat) as response:
            reader.read(response)
        return reader

    with ThreadPoolExecutor(2) as pool:
        answer = pool.submit(streamed)
        title = pool.submit(post, served_story, "/chat/completions", TITLE)
        reader, (status, told) = answer.result(), title.result()
    assert status == 200 and told["choices"][0]["message"]["content"]
    assert reader.text and not reader.thought
    assert reader.usage["completion_tokens"] == reader.usage["predicted_n"] == 30
    assert reader.usage["predicted_per_second"] > 0


def test_models_are_listed_while_answers_grow(served_story):
    said = {**HOME, "max_tokens": 200, "stream": True, "ignore_eos": True}
    with posting(served_story, "/v1/chat/completions", said) as response:
        events = parse(response)
        next(events), next(events)
        for path in ("/v1/models", "/models"):
            with urllib.request.urlopen(served_story.url + path, timeout=10) as listed:
                assert listed.status == 200
        assert any(event != "[DONE]" and event["choices"] for event in events)

"""OpenAI's API on a real server, asked by OpenAI's own client, and by strict readers."""

import http.client
import json
import urllib.request
from contextlib import ExitStack
from typing import Literal

import openai
import pytest
from pydantic import BaseModel

from pi_cluster.coordinator.records.kept_record import load_record
from tests.support.asking import ENDLESS_IDS, FOX
from tests.support.cluster_process import describe_all, eventually
from tests.support.event_stream import DONE, parse, post, posting
from tests.support.servers import serving

GREEDY = {"model": "any name", "temperature": 0, "max_tokens": 24}
SAID = [{"role": "user", "content": FOX}]
PLACES = 8  # texts as long as these that the caches hold at once
TALK = {"prompt": ENDLESS_IDS, "temperature": 0, "repeat_penalty": 1e9}


@pytest.fixture(scope="module")
def client(served_story):
    with openai.OpenAI(base_url=f"{served_story.url}/v1", api_key="none", max_retries=0) as made:
        yield made


@pytest.fixture(scope="module")
def alone(served_story):
    """What the command answers to the same."""
    return served_story.cluster.prompt(FOX, "--temperature", "0", "--max-tokens", "24")


def test_a_chat_is_answered_as_the_command_answers_it(client, alone):
    whole = client.chat.completions.create(messages=SAID, **GREEDY)
    assert whole.choices[0].message.content == alone["text"]
    assert whole.choices[0].message.role == "assistant"
    assert whole.choices[0].finish_reason == "length"
    assert whole.usage.completion_tokens == 24
    assert whole.usage.prompt_tokens == len(alone["prompt_ids"])
    assert whole.model == client.models.list().data[0].id
    assert whole.system_fingerprint and whole.id.startswith("chatcmpl-")
    assert whole.timings["predicted_n"] == 24


def test_a_streamed_chat_begins_with_its_role_and_ends_with_what_it_cost(client, alone):
    options = {"include_usage": True}
    with client.chat.completions.create(
        messages=SAID, stream=True, stream_options=options, **GREEDY
    ) as stream:
        first, *middle, last, cost = list(stream)
    assert first.choices[0].delta.role == "assistant" and not first.choices[0].finish_reason
    assert "".join(chunk.choices[0].delta.content for chunk in middle) == alone["text"]
    assert last.choices[0].finish_reason == "length" and last.timings["prompt_n"] > 0
    assert not cost.choices and cost.usage.completion_tokens == 24
    ids = {chunk.id for chunk in (first, *middle, last, cost)}
    assert len(ids) == 1


def test_a_stream_is_read_by_the_strictest_parser(served_story, alone):
    with posting(served_story, "/v1/chat/completions", {"messages": SAID, "stream": True}) as got:
        assert got.headers["content-type"].startswith("text/event-stream")
        assert got.headers["x-accel-buffering"] == "no"
        events = list(parse(got))
    assert events[-1] == DONE
    assert all(event["object"] == "chat.completion.chunk" for event in events[:-1])


def test_several_answers_have_seeds_that_follow_each_other(client):
    asked = {"messages": SAID, "model": "any", "max_tokens": 8, "temperature": 1.5}
    three = client.chat.completions.create(n=3, seed=7, **asked)
    texts = [choice.message.content for choice in three.choices]
    alone = [
        client.chat.completions.create(seed=7 + number, **asked).choices[0].message.content
        for number in range(3)
    ]
    assert texts == alone and len(set(texts)) > 1
    assert three.usage.completion_tokens == 3 * 8
    with client.chat.completions.create(n=3, seed=7, stream=True, **asked) as stream:
        streamed = ["", "", ""]
        for chunk in stream:
            streamed[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert streamed == texts


def test_each_token_has_its_probability_whole_and_streamed(client, alone):
    asked = {"messages": SAID, "logprobs": True, "top_logprobs": 3, **GREEDY}
    whole = client.chat.completions.create(**asked).choices[0].logprobs.content
    assert "".join(token.token for token in whole) == alone["text"]
    assert all(len(token.top_logprobs) == 3 and token.logprob <= 0 for token in whole)
    assert all(token.token == token.top_logprobs[0].token for token in whole)  # it is greedy
    assert b"".join(bytes(token.bytes) for token in whole).decode() == alone["text"]
    with client.chat.completions.create(stream=True, **asked) as stream:
        found = [chunk.choices[0].logprobs for chunk in stream]
    streamed = [token.token for one in found if one for token in one.content]
    assert streamed == [token.token for token in whole]


def test_a_continued_texts_tokens_stand_where_they_say(client):
    asked = {"prompt": "Once upon a time", "logprobs": 2, **GREEDY}
    (choice,) = client.completions.create(**asked).choices
    likely = choice.logprobs
    assert "".join(likely.tokens) == choice.text
    for at, token in zip(likely.text_offset, likely.tokens, strict=True):
        assert choice.text[at:].startswith(token)
    assert all(len(top) == 2 for top in likely.top_logprobs)
    with client.completions.create(stream=True, **asked) as stream:
        found = [chunk.choices[0].logprobs for chunk in stream]
    assert [at for one in found if one for at in one.text_offset] == likely.text_offset


def test_a_bias_and_penalties_change_what_is_said(served_story, client, alone):
    first = alone["ids"][0]
    biased = client.chat.completions.create(messages=SAID, logit_bias={first: -100}, **GREEDY)
    assert biased.choices[0].message.content != alone["text"]
    endless = {**TALK, "max_tokens": 60, "repeat_penalty": 1}
    _, plain = post(served_story, "/v1/completions", endless)
    _, other = post(served_story, "/v1/completions", {**endless, "frequency_penalty": 2})
    assert plain["choices"][0]["text"] != other["choices"][0]["text"]


def test_an_answer_keeps_to_the_schema_that_a_client_makes_of_a_class(client):
    class Animal(BaseModel):
        kind: Literal["fox", "dog"]
        legs: int

    asked = {"messages": SAID, **GREEDY, "max_tokens": 60}
    parsed = client.chat.completions.parse(response_format=Animal, **asked)
    assert parsed.choices[0].message.parsed.kind in ("fox", "dog")
    assert parsed.choices[0].finish_reason == "stop"


def test_a_schema_that_cannot_be_followed_is_refused_by_what_it_has(served_story):
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "fox"}}}
    said = {"messages": SAID, "response_format": form}
    status, told = post(served_story, "/v1/chat/completions", said)
    assert status == 400 and "fox" in told["error"]["message"]


def test_a_prompt_that_is_known_already_counts_as_cached(client):
    asked = {"messages": [{"role": "user", "content": "Tell me of a kite. " * 6}], **GREEDY}
    client.chat.completions.create(**asked)
    usage = client.chat.completions.create(**asked).usage
    assert 0 < usage.prompt_tokens_details.cached_tokens < usage.prompt_tokens


def test_texts_and_ids_are_continued(served_story, client):
    prompt = "Once upon a time"
    raw = served_story.cluster.prompt(prompt, "--raw", "--temperature", "0", "--max-tokens", "24")
    one = client.completions.create(prompt=prompt, **GREEDY)
    assert one.choices[0].text == raw["text"]
    ids = client.completions.create(prompt=raw["prompt_ids"], **GREEDY)
    assert ids.choices[0].text == raw["text"]
    two = client.completions.create(prompt=[prompt, "The fox"], n=2, **GREEDY)
    assert [choice.text for choice in two.choices][:2] == [raw["text"]] * 2
    assert [choice.index for choice in two.choices] == [0, 1, 2, 3]
    prompts = len(raw["prompt_ids"]) + two.usage.completion_tokens
    assert two.usage.total_tokens > prompts
    with client.completions.create(prompt=prompt, stream=True, **GREEDY) as stream:
        assert "".join(chunk.choices[0].text for chunk in stream) == raw["text"]


def test_a_stop_string_ends_an_answer_and_is_not_shown(client, alone):
    word = alone["text"].split()[3]
    stopped = client.chat.completions.create(messages=SAID, stop=[word], **GREEDY).choices[0]
    assert stopped.finish_reason == "stop"
    assert stopped.message.content == alone["text"][: alone["text"].index(word)]


def test_what_clients_write_in_other_ways_means_the_same(served_story, alone):
    form = {"temperature": 0, "max_completion_tokens": 24, "max_tokens": 3, "seed": -1}
    parts = [{"type": "text", "text": FOX}]
    unknown = {"store": True, "metadata": {"a": "b"}, "user": "somebody", "stop": None}
    said = {"messages": [{"role": "user", "content": parts}], **form, **unknown}
    status, whole = post(served_story, "/chat/completions", said)
    assert (status, whole["choices"][0]["message"]["content"]) == (200, alone["text"])


def test_turns_that_a_strict_template_refuses_are_told_in_its_order(served_story):
    said = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "Who are you?"},
        {"role": "user", "content": "Say it."},
        {"role": "assistant", "content": None},
        {"role": "user", "content": "Well?"},
    ]
    status, whole = post(served_story, "/v1/chat/completions", {"messages": said, "max_tokens": 4})
    assert status == 200, whole


@pytest.mark.parametrize(
    ("change", "field", "says"),
    [
        ({"messages": []}, "messages", "empty"),
        ({"messages": [{"content": "x"}]}, "messages[0].role", "missing"),
        ({"max_tokens": "many"}, "max_tokens", "int"),
        ({"n": 5}, "n", "<= 4"),
        ({"logit_bias": {"fox": 1}}, "logit_bias", "int"),
        ({"stop": ["x"] * 17}, "stop", "16"),
        ({"temperature": -1}, None, "temperature"),
        ({"response_format": {"type": "xml"}}, "response_format", "json_schema"),
        ({"top_logprobs": 3}, "top_logprobs", "logprobs"),
        ({"grammar": "root ::= x"}, "grammar", "response_format"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "messages[0].content",
            "image_url",
        ),
    ],
)
def test_what_cannot_be_asked_is_refused_by_the_name_of_its_field(
    served_story, change, field, says
):
    status, told = post(served_story, "/v1/chat/completions", {"messages": SAID, **change})
    assert status == 400
    assert told["error"]["param"] == field and says in told["error"]["message"]
    assert told["error"]["type"] == "invalid_request_error"


def test_a_stream_that_cannot_be_asked_is_refused_by_its_status(served_story):
    said = {"messages": SAID, "stream": True, "temperature": -1}
    assert post(served_story, "/v1/chat/completions", said)[0] == 400


def test_what_is_not_offered_says_what_is(client):
    with pytest.raises(openai.InternalServerError, match="/v1/chat/completions") as told:
        client.responses.create(model="any", input="hello")
    assert told.value.status_code == 501
    assert told.value.response.headers["x-should-retry"] == "false"
    with pytest.raises(openai.InternalServerError, match="small model"):
        client.embeddings.create(model="any", input="hello")


def test_the_model_is_found_by_its_name_and_by_no_other(client):
    (model,) = client.models.list().data
    assert client.models.retrieve(model.id) == model
    with pytest.raises(openai.NotFoundError, match=model.id):
        client.models.retrieve("gpt-9")


def test_a_strict_server_refuses_other_models(cluster):
    cluster.up("--local", "1")
    with serving(cluster, "--strict-model", "--embeddings", "mean") as strict:
        said = {"prompt": "The", "max_tokens": 1}
        assert post(strict, "/v1/completions", said)[0] == 200
        assert post(strict, "/v1/completions", {**said, "model": "storyteller"})[0] == 200
        status, told = post(strict, "/v1/completions", {**said, "model": "gpt-9"})
        assert (status, told["error"]["param"]) == (404, "model")
        wanted = {"input": "The", "model": "storyteller"}
        assert post(strict, "/v1/embeddings", wanted)[0] == 200
        status, told = post(strict, "/v1/embeddings", {**wanted, "model": "gpt-9"})
        assert (status, told["error"]["param"]) == (404, "model")


def test_text_becomes_ids_and_ids_become_text_as_with_llama_cpp(served_story, client):
    _, plain = post(served_story, "/tokenize", {"content": "a fox"})
    _, opened = post(served_story, "/tokenize", {"content": "a fox", "add_special": True})
    assert opened["tokens"][1:] == plain["tokens"]
    assert post(served_story, "/detokenize", plain) == (200, {"content": "a fox"})
    status, told = post(served_story, "/detokenize", {"tokens": [10**9]})
    assert status == 400 and "vocabulary" in told["error"]["message"]
    _, rendered = post(served_story, "/apply-template", {"messages": SAID})
    assert FOX in rendered["prompt"]


@pytest.mark.parametrize("stream", [True, False])
def test_clients_that_leave_make_room_for_others(served_story, stream):
    """Each of them has its place in the caches, which holds all of them and no more."""
    said = {**TALK, "max_tokens": 20_000, "stream": stream}
    record = served_story.cluster.record()
    body = json.dumps(said).encode()
    with ExitStack() as stack:
        for _ in range(PLACES):
            connection = http.client.HTTPConnection(served_story.host, served_story.port)
            stack.callback(connection.close)
            connection.request("POST", "/v1/completions", body)
            if stream:
                next(parse(connection.getresponse()))
        eventually(
            lambda: describe_all(record),
            lambda nodes: all(node.stage.sequences == PLACES for node in nodes),
        )
    # Were they still asked for, it would wait for minutes.
    assert post(served_story, "/v1/completions", {"prompt": "The", "max_tokens": 1})[0] == 200


def test_the_document_describes_what_is_served(served_story):
    with urllib.request.urlopen(f"{served_story.url}/openapi.json") as response:
        told = json.load(response)
    assert {"/v1/chat/completions", "/v1/completions", "/v1/models", "/tokenize"} <= set(
        told["paths"]
    )
    chat = told["paths"]["/v1/chat/completions"]["post"]
    named = chat["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    fields = told["components"]["schemas"][named.rpartition("/")[2]]["properties"]
    assert {"messages", "temperature", "max_completion_tokens"} <= set(fields)


def test_a_body_that_is_no_json_is_refused(served_story):
    status, told = post(served_story, "/v1/chat/completions", b"{")
    assert status == 400 and told["error"]["code"] == "invalid_json"
    connection = http.client.HTTPConnection(served_story.host, served_story.port, timeout=20)
    connection.request("GET", "/v1/chat/completions")
    assert connection.getresponse().status == 405
    connection.close()


def test_a_last_message_of_the_assistant_is_gone_on_with(served_story, client):
    turns = [*SAID, {"role": "assistant", "content": "Once upon a ti"}]
    asked = {**GREEDY, "messages": turns}
    said = client.chat.completions.create(**asked).choices[0].message.content
    with served_story.cluster.environment():
        ids = load_record(served_story.cluster.name).text_model().chat_ids(turns, continues=True)
    assert said == client.completions.create(prompt=ids, **GREEDY).choices[0].text
    with client.chat.completions.create(stream=True, **asked) as stream:
        pieces = [chunk.choices[0].delta.content or "" for chunk in stream]
    assert "".join(pieces) == said
    likely = client.chat.completions.create(logprobs=True, **asked).choices[0].logprobs.content
    assert "".join(one.token for one in likely) == said
    with pytest.raises(openai.BadRequestError, match="cannot follow a schema"):
        client.chat.completions.create(response_format={"type": "json_object"}, **asked)

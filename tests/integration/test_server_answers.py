"""A server killed in mid-answer: the next one goes on, and so does whoever had asked."""

import http.client
import json
import signal
from contextlib import closing, contextmanager

import pytest

from tests.support.cluster_process import eventually
from tests.support.event_stream import posting
from tests.support.servers import serving

SEEDED = ("--repeat-penalty", "1e9", "--temperature", "1.5", "--seed", "5", "--max-tokens", "600")
CAPITALS = {
    "type": "object",
    "properties": {"names": {"type": "array", "items": {"type": "string"}, "minItems": 30}},
    "required": ["names"],
}
CHAT = "/v1/chat/completions"
CLOCK = {
    "type": "function",
    "function": {"name": "clock", "parameters": CAPITALS, "strict": True},
}
_PATIENCE_S = 60


@pytest.fixture(scope="module")
def up(make_cluster):
    with make_cluster() as cluster:
        cluster.up("--local", "2", "--texts", "4")
        yield cluster


@pytest.fixture
def asked(endless):
    """Words after ``prompt`` whose answer takes long, drawn from many likely tokens."""
    return (*endless[:2], *SEEDED)


def kill(server):
    server.running.send(signal.SIGKILL)
    server.running.process.wait(_PATIENCE_S)


def get(server, path):
    """The status, and the lines that came."""
    with closing(http.client.HTTPConnection(server.host, server.port, timeout=60)) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, [json.loads(line) for line in response.read().splitlines()]


def answers(server):
    status, [told] = get(server, "/cluster/v1/answers")
    assert status == 200
    return told["answers"]


@contextmanager
def killed_and_back(cluster, server, running, count):
    """The server that comes after one killed when ``running`` has printed so many bytes."""
    running.read(count)
    kill(server)
    assert running.process.poll() is None
    with serving(cluster, "--port", str(server.port)) as again:
        yield again


def test_a_prompt_whose_server_is_killed_goes_on_without_a_lost_or_doubled_character(up, asked):
    undisturbed = up.run("prompt", *asked, "--direct")
    with serving(up) as server:
        running = up.start("prompt", *asked)
        with killed_and_back(up, server, running, 60) as again:
            outcome = running.end()
            assert (outcome.code, outcome.out) == (0, undisturbed.out), outcome
            assert outcome.err.count("the server has ended") == 1
            eventually(lambda: answers(again), lambda now: now == [], _PATIENCE_S)


def grown(server, tokens):
    return any(one["running"] and one["tokens"] > tokens for one in answers(server))


def test_what_a_killed_server_leaves_is_listed_and_streamed_from_its_beginning(up, asked):
    body = {
        "messages": [{"role": "user", "content": "Tell me a story about a brave fox."}],
        "seed": 5,
        "temperature": 0.7,
        "max_tokens": 400,
    }
    for more in (
        {"response_format": {"type": "json_schema", "json_schema": {"schema": CAPITALS}}},
        {"tools": [CLOCK], "tool_choice": "required", "logit_bias": {"20": -5}},
        {"ignore_eos": True, "logprobs": True, "top_logprobs": 2},
    ):
        with serving(up) as server:
            with posting(server, CHAT, body | more) as response:
                whole = json.loads(response.read())["choices"][0]
            with posting(server, CHAT, body | more | {"stream": True}) as held:
                held.read(40)
                eventually(lambda server=server: grown(server, 8), bool, _PATIENCE_S)
                kill(server)
        with serving(up) as again:
            [left] = answers(again)
            assert left.keys() == {"id", "created", "tokens", "running"}
            assert left["tokens"] > 8 and not left["running"]
            status, lines = get(again, f"/cluster/v1/answers/{left['id']}")
            assert status == 200 and lines[0]["begin"]["id"] == left["id"]
            answer = lines[-1]["answer"]
            said = "".join(line.get("said", "") for line in lines)
            assert said == answer["text"] == (whole["message"]["content"] or "")
            for call, told in zip(
                answer["tool_calls"], whole["message"].get("tool_calls") or [], strict=True
            ):
                assert call["arguments"] == told["function"]["arguments"]
            if whole.get("logprobs"):
                assert len(answer["logprobs"]) == len(whole["logprobs"]["content"])
            eventually(lambda again=again: answers(again), lambda now: now == [], _PATIENCE_S)
            assert get(again, f"/cluster/v1/answers/{left['id']}")[0] == 404


def test_an_answer_that_its_client_leaves_is_not_kept(up, endless):
    body = {"prompt": [1, 3, 2, 558, 355], "repeat_penalty": 1e9, "max_tokens": 2000}
    with serving(up) as server:
        with posting(server, "/v1/completions", body | {"stream": True}) as held:
            held.read(20)
            [under_way] = answers(server)
            assert under_way["running"]
            assert get(server, f"/cluster/v1/answers/{under_way['id']}")[0] == 404
        eventually(lambda: answers(server), lambda now: now == [], _PATIENCE_S)


def test_a_server_without_a_journal_leaves_nothing_and_a_prompt_says_so(up, asked):
    with serving(up, "--no-journal") as server:
        running = up.start("prompt", *asked)
        running.read(20)
        assert answers(server) == []
        kill(server)
        outcome = running.end()
    assert outcome.code == 1 and "ask again" in outcome.err

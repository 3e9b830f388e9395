"""A server that ends in mid-answer: the next one goes on, and so does whoever had asked."""

import functools
import http.client
import json
import os
import signal
import time
from contextlib import ExitStack, closing, contextmanager

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
ENDLESS = {
    "prompt": [1, 3, 2, 558, 355],
    "repeat_penalty": 1e9,
    "temperature": 0,
    "max_tokens": 700,
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


def end(server, number=signal.SIGKILL):
    """As a crash does, or whoever tells it to end."""
    server.running.send(number)
    server.running.process.wait(_PATIENCE_S)


def get(server, path, key=""):
    """The status, and the lines that came."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    with closing(http.client.HTTPConnection(server.host, server.port, timeout=60)) as connection:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response.status, [json.loads(line) for line in response.read().splitlines()]


def answers(server, key=""):
    status, [told] = get(server, "/cluster/v1/answers", key)
    assert status == 200
    return told["answers"]


def kept_files(cluster):
    folder = cluster.folder / "state" / "pi-cluster" / cluster.name / "server" / "journal"
    return sorted(folder.iterdir()) if folder.is_dir() else []


@pytest.mark.parametrize(
    "endings", [(signal.SIGKILL, signal.SIGKILL), (signal.SIGTERM, signal.SIGINT)]
)
def test_a_prompt_whose_server_ends_twice_goes_on_without_a_lost_or_doubled_character(
    up, asked, endings
):
    undisturbed = up.run("prompt", *asked, "--direct")
    with ExitStack() as servers:
        server = servers.enter_context(serving(up))
        running = up.start("prompt", *asked)
        for number, count in zip(endings, (60, 400), strict=True):
            running.read(count)
            end(server, number)
            assert running.process.poll() is None
            assert "Traceback" not in server.running.error_text
            server = servers.enter_context(serving(up, "--port", str(server.port)))
        outcome = running.end(_PATIENCE_S)
        assert (outcome.code, outcome.out) == (0, undisturbed.out), outcome
        assert outcome.err.count("the server has ended in mid-answer") == 2
        eventually(lambda: answers(server), lambda now: now == [], _PATIENCE_S)
    assert kept_files(up) == []


def test_a_chat_whose_server_is_killed_goes_on_and_remembers_its_turns(up):
    words = ("chat", *SEEDED[2:6], "--max-tokens", "150")
    said = b"Who are you?\nTell me a story about a brave fox.\n"
    more = b"What is your name?\n"
    undisturbed = up.run(*words, "--direct", stdin=said + more).out
    first = undisturbed.splitlines()[0]
    with serving(up) as server:
        running = up.start(*words)
        running.stdin.write(said)
        running.stdin.flush()
        running.read(len(first.encode()) + 20)
        end(server)
        with serving(up, "--port", str(server.port)):
            running.stdin.write(more)
            running.stdin.close()
            outcome = running.end(_PATIENCE_S)
    assert (outcome.code, outcome.out) == (0, undisturbed), outcome


def grown(server, tokens, key=""):
    return any(one["running"] and one["tokens"] > tokens for one in answers(server, key))


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
                end(server)
        log = up.folder / "answered.jsonl"
        with serving(up, "--log-prompts", str(log)) as again:
            [left] = answers(again)
            assert left.keys() == {"id", "created", "tokens", "running"}
            assert left["tokens"] > 8 and not left["running"]
            status, lines = get(again, f"/cluster/v1/answers/{left['id']}")
            assert status == 200 and lines[0]["begin"]["id"] == left["id"]
            answer = lines[-1]["answer"]
            said = "".join(line.get("said", "") for line in lines)
            assert said == answer["text"] == (whole["message"]["content"] or "")
            logged = json.loads(log.read_text().splitlines()[-1])
            assert (logged["prompt"], logged["answer"]) == (body["messages"], answer["text"])
            for call, told in zip(
                answer["tool_calls"], whole["message"].get("tool_calls") or [], strict=True
            ):
                assert call["arguments"] == told["function"]["arguments"]
            if whole.get("logprobs"):
                assert len(answer["logprobs"]) == len(whole["logprobs"]["content"])
            eventually(lambda again=again: answers(again), lambda now: now == [], _PATIENCE_S)
            assert get(again, f"/cluster/v1/answers/{left['id']}")[0] == 404


def test_an_answer_that_its_client_leaves_is_not_kept(up):
    with serving(up) as server:
        with streaming(server):
            [under_way] = answers(server)
            assert under_way["running"]
            assert get(server, f"/cluster/v1/answers/{under_way['id']}")[0] == 404
        eventually(lambda: answers(server), lambda now: now == [], _PATIENCE_S)


@contextmanager
def streaming(server, key=""):
    """A client in mid-answer, until the block ends."""
    headers = {"content-type": "application/json", "authorization": f"Bearer {key}"}
    body = json.dumps({**ENDLESS, "stream": True})
    with closing(http.client.HTTPConnection(server.host, server.port, timeout=60)) as connection:
        connection.request("POST", "/v1/completions", body, headers)
        connection.getresponse().read(20)
        eventually(lambda: grown(server, 4, key), bool, _PATIENCE_S)
        yield


def test_what_its_client_never_comes_back_for_is_gone_after_a_day(up):
    with serving(up) as server, streaming(server):
        end(server)
    [path] = kept_files(up)
    assert path.stat().st_mode & 0o777 == 0o600
    with serving(up) as server:
        assert [one["id"] for one in answers(server)] == [path.name]
    yesterday_s = time.time() - 86_401
    os.utime(path, (yesterday_s, yesterday_s))
    with serving(up) as server:
        assert answers(server) == [] and kept_files(up) == []


def test_a_key_is_shown_and_given_its_own_answers_alone(up):
    keys = {name: up.run("key", "create", name).out.strip() for name in ("anna", "ben")}
    try:
        with serving(up) as server, streaming(server, keys["anna"]):
            end(server)
        [path] = kept_files(up)
        one = f"/cluster/v1/answers/{path.name}"
        with serving(up) as server:
            for wanted in ("/cluster/v1/answers", one):
                assert get(server, wanted)[0] == 401
            assert answers(server, keys["ben"]) == []
            assert get(server, one, keys["ben"])[0] == 404
            _, [refused] = get(server, "/cluster/v1/answers/none", keys["ben"])
            assert path.name not in refused["error"]["message"]
            assert [told["id"] for told in answers(server, keys["anna"])] == [path.name]
            status, lines = get(server, one, keys["anna"])
            assert status == 200 and len(lines[-1]["answer"]["ids"]) == ENDLESS["max_tokens"]
            of_anna = functools.partial(answers, server, keys["anna"])
            eventually(of_anna, lambda now: now == [], _PATIENCE_S)
    finally:
        for name in keys:
            up.run("key", "revoke", name)


def test_a_server_without_a_journal_leaves_nothing_and_a_prompt_says_so(up, asked):
    with serving(up, "--no-journal") as server:
        running = up.start("prompt", *asked)
        running.read(20)
        assert answers(server) == [] and kept_files(up) == []
        end(server)
        outcome = running.end()
    assert outcome.code == 1 and "ask again" in outcome.err


def test_a_prompt_whose_next_server_keeps_no_answers_is_told_to_ask_anew(up, asked):
    with serving(up) as server:
        running = up.start("prompt", *asked)
        running.read(20)
        end(server)
        with serving(up, "--no-journal", "--port", str(server.port)):
            outcome = running.end(_PATIENCE_S)
    assert outcome.code == 1 and "this server keeps no answers: ask anew" in outcome.err
    for path in kept_files(up):
        path.unlink()

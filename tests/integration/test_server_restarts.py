"""A server that is killed, told to end, or started twice: clients get what they asked for."""

import http.client
import json
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial

import openai
import pytest

from tests.support.asking import ENDLESS_IDS
from tests.support.cluster_process import describe_all, eventually
from tests.support.event_stream import post, posting
from tests.support.servers import serving

TEXTS = "/v1/completions"
TALK = {"prompt": ENDLESS_IDS, "temperature": 0, "repeat_penalty": 1e9}
_PATIENCE_S = 60


@pytest.fixture(scope="module")
def up(make_cluster):
    with make_cluster() as cluster:
        cluster.up("--local", "2")
        yield cluster


def sequences(cluster):
    return [node.stage.sequences for node in describe_all(cluster.record())]


def test_what_a_killed_server_was_asked_is_answered_by_the_next(up):
    """OpenAI's client asks again by itself; the dead one's caches are free for the new one."""
    said = {"prompt": ENDLESS_IDS, "temperature": 0, "max_tokens": 1000}
    more = {"repeat_penalty": TALK["repeat_penalty"]}
    with serving(up) as first, ThreadPoolExecutor(2) as pool:
        port = str(first.port)
        with openai.OpenAI(
            base_url=f"{first.url}/v1", api_key="none", max_retries=20, timeout=_PATIENCE_S
        ) as client:
            asking = partial(client.completions.create, model="any", **said, extra_body=more)
            with posting(first, TEXTS, {**TALK, "max_tokens": 20_000, "stream": True}) as held:
                held.read(20)
                answers = [pool.submit(asking) for _ in range(2)]
                eventually(lambda: sequences(up), lambda now: now == [3, 3], _PATIENCE_S)
                first.running.send(signal.SIGKILL)
                first.running.process.wait(_PATIENCE_S)
            assert not any(answer.done() for answer in answers)
            eventually(lambda: sequences(up), lambda now: now == [0, 0], _PATIENCE_S)
            with serving(up, "--port", port):
                texts = [answer.result(_PATIENCE_S).choices[0].text for answer in answers]
                assert texts == [asking().choices[0].text] * 2


def test_a_server_that_ends_answers_all_that_it_was_asked_and_frees_the_pipeline(up):
    """Streams and whole answers, under way and waiting, are told in their form to ask again."""
    endless = {**TALK, "max_tokens": 20_000}
    with serving(up) as server, ThreadPoolExecutor(1) as pool:
        with posting(server, TEXTS, {**endless, "stream": True}) as stream:
            first = stream.read(20)
            whole = pool.submit(post, server, TEXTS, endless)
            eventually(lambda: sequences(up), lambda now: now == [2, 2], _PATIENCE_S)
            server.running.send(signal.SIGTERM)
            rest = first + stream.read()
            assert b"server_stopping" in rest.splitlines()[-2]
        status, told = whole.result(_PATIENCE_S)
        assert (status, told["error"]["code"]) == (503, "server_stopping")
        assert server.running.process.wait(_PATIENCE_S) in (0, -signal.SIGTERM)
        assert "Traceback" not in server.running.error_text
    eventually(lambda: sequences(up), lambda now: now == [0, 0], _PATIENCE_S)


def test_a_port_that_another_program_has_is_named_with_the_way_out(up):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = up.run("serve", "--port", str(port))
    assert refused.code == 1 and "Traceback" not in refused.err
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in refused.err
    assert "--port" in refused.err
    with serving(up) as server, closing(http.client.HTTPConnection(server.host, server.port)) as c:
        c.request("GET", "/health")
        assert json.loads(c.getresponse().read())["status"] == "ok"

"""Who leaves before the end takes nothing more of the pipeline, wherever their request was."""

import http.client
import json
import select
import time
from contextlib import ExitStack, closing

import pytest

from tests.support.asking import ENDLESS, ENDLESS_IDS
from tests.support.cluster_process import eventually
from tests.support.servers import serving

WAITING = 64  # so many may; see server/serving.py
LONG_IDS = [1, *range(300, 500)] * 300  # what takes many seconds to read
LONG_TEXT = "fox " * 60_000
NEVER_ENDS = {"type": "array", "minItems": 10**9, "items": {"type": "null"}}
WAYS = (
    "a stream of OpenAI's",
    "a whole answer of OpenAI's",
    "the command's",
    "a stream of Ollama's",
    "a whole answer of Ollama's",
)
STREAM, WHOLE = WAYS[:2]
_PATIENCE_S = 60


@pytest.fixture(scope="module")
def server(make_cluster):
    """One text at a time: whoever asks beside it waits."""
    with make_cluster() as cluster:
        cluster.up("--local", "2", "--texts", "1")
        with serving(cluster, "--embeddings", "mean") as server:
            yield server


def request(way, count, *, is_long):
    """Path and body of what talks for ``count`` tokens."""
    said = {"prompt": LONG_IDS if is_long else ENDLESS_IDS}
    keywords = {**ENDLESS, "max_tokens": count}
    if way == "the command's":
        return "/cluster/v1/ask", {**said, "keywords": keywords}
    stream = {"stream": way.startswith("a stream")}
    if way.endswith("OpenAI's"):
        return "/v1/completions", {**said, **keywords, **stream}
    text = {"model": "storyteller", "raw": True, "prompt": LONG_TEXT if is_long else "Once"}
    endless = {"format": NEVER_ENDS, "options": {"num_predict": count}}
    return "/api/generate", {**text, **endless, **stream}


def asked(server, way=STREAM, count=20_000, *, is_long=False):
    """The connection of a client that has asked, and leaves when it is closed."""
    connection = http.client.HTTPConnection(server.host, server.port, timeout=_PATIENCE_S)
    path, body = request(way, count, is_long=is_long)
    connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
    return connection


def figures(server):
    """What the server counts, by the name of the metric."""
    connection = http.client.HTTPConnection(server.host, server.port, timeout=_PATIENCE_S)
    with closing(connection):
        connection.request("GET", "/metrics")
        lines = connection.getresponse().read().decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name.removeprefix("pi_cluster_"): float(value) for name, value in pairs}


def counted(server, *, running, waiting):
    """The server's figures as soon as so many requests run and wait."""
    expected = {"requests_running": running, "requests_waiting": waiting}
    return eventually(
        lambda: figures(server), lambda now: now.items() >= expected.items(), _PATIENCE_S
    )


def generated(server):
    return figures(server)["generated_tokens_total"]


def has_left(server, before):
    """The log tells of one more that left than ``before``."""
    eventually(lambda: left(server), lambda now: now == before + 1)
    counted(server, running=0, waiting=0)


def left(server):
    return server.running.error_text.count(" left\n")


def answered(connection, why):
    """The answer that comes now, and how long that took, which ``pytest -s`` shows."""
    began_s = time.monotonic()
    response = connection.getresponse()
    status, body = response.status, response.read()
    print(f"{why}: {1000 * (time.monotonic() - began_s):.0f} ms")
    return status, body


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_who_leaves_gives_its_place_to_the_next(server, way, phase):
    before, none = left(server), generated(server)
    with closing(asked(server, way, is_long=phase == "prefill")) as leaving:
        counted(server, running=1, waiting=0)
        if phase == "decode":
            eventually(lambda: generated(server), lambda now: now > none, _PATIENCE_S)
        with closing(asked(server, STREAM, count=1)) as following:
            counted(server, running=1, waiting=1)
            assert (generated(server) == none) == (phase == "prefill")
            leaving.close()
            assert answered(following, f"{way}, left in {phase}")[0] == 200
    has_left(server, before)


@pytest.mark.parametrize("way", WAYS)
def test_who_leaves_while_it_waits_is_not_waited_for(server, way):
    before = left(server)
    with closing(asked(server)) as talking:
        counted(server, running=1, waiting=0)
        with closing(asked(server, way)):
            counted(server, running=1, waiting=1)
        began_s = time.monotonic()
        counted(server, running=1, waiting=0)
        print(f"{way}, left in the queue: {1000 * (time.monotonic() - began_s):.0f} ms")
        eventually(lambda: left(server), lambda now: now == before + 1)
        talking.close()
    has_left(server, before + 1)


@pytest.mark.parametrize("path", ["/v1/embeddings", "/api/embed"])
def test_who_leaves_before_the_vectors_of_many_texts_asks_for_none_of_them_any_more(server, path):
    before = left(server)
    connection = http.client.HTTPConnection(server.host, server.port, timeout=_PATIENCE_S)
    with closing(connection):
        said = {"model": "storyteller", "input": [f"{number} {LONG_TEXT}" for number in range(20)]}
        connection.request("POST", path, json.dumps(said), {"content-type": "application/json"})
        counted(server, running=1, waiting=0)
    has_left(server, before)


def test_a_full_queue_sends_others_away_for_a_while_and_loses_nobody(server):
    with ExitStack() as stack:
        talking = stack.enter_context(closing(asked(server)))
        counted(server, running=1, waiting=0)
        asking = [
            stack.enter_context(closing(asked(server, WHOLE, count=2))) for _ in range(WAITING + 1)
        ]
        # Once one of them is refused, all others wait.
        (sent_away,), _, _ = select.select([one.sock for one in asking], [], [], _PATIENCE_S)
        waiting = [one for one in asking if one.sock is not sent_away]
        for way in WAYS:
            with closing(asked(server, way)) as one_more:
                response = one_more.getresponse()
                told = json.loads(response.read())
            assert response.status == 429 and "64 requests wait" in str(told["error"])
            assert response.headers["x-should-retry"] == "true"
            assert 1 <= int(response.headers["retry-after"]) <= 60
        counted(server, running=1, waiting=WAITING)
        talking.close()
        answers = [answered(one, "one that waited") for one in waiting]
    texts = {json.loads(body)["choices"][0]["text"] for status, body in answers if status == 200}
    assert len(texts) == 1 and {status for status, _ in answers} == {200}
    counted(server, running=0, waiting=0)

"""Requests that are made to hurt: refused in the words of their API, and nobody else is hurt."""

import json

import pytest

from tests.support.asking import FOX
from tests.support.event_stream import post
from tests.support.servers import serving

SECRET = "my-secret-diary"
DEEP = 100_000
CHAT, TEXTS, NATIVE = "/v1/chat/completions", "/v1/completions", "/cluster/v1/ask"
OLLAMA_CHAT = "/api/chat"
SAID = [{"role": "user", "content": SECRET}]


@pytest.fixture(scope="module")
def server(make_cluster):
    """One whose log is read: none of what is sent here may stand in it."""
    with make_cluster() as cluster:
        cluster.up("--local", "1", "--texts", "4")
        with serving(cluster) as server:
            yield server


@pytest.fixture(autouse=True)
def _goes_on_answering_and_logs_no_text(server):
    yield
    said = {"messages": [{"role": "user", "content": FOX}], "max_tokens": 2}
    assert post(server, CHAT, said)[0] == 200
    assert SECRET not in server.running.error_text
    assert "Traceback" not in server.running.error_text


def refused(server, path, body):
    """The sentence of a refusal, which is the client's fault and says so in its API's form."""
    status, told = post(server, path, body)
    assert 400 <= status < 500, (status, told)
    return told["error"] if path.startswith("/api/") else told["error"]["message"]


NO_JSON = {
    "nothing": b"",
    "half a value": b'{"messages": [{"role": "user", "content": "' + SECRET.encode(),
    "no UTF-8": b'{"messages": [{"role": "user", "content": "%s\xff\xfe"}]}' % SECRET.encode(),
    "half a character": b'{"prompt": "%s\\ud800"}' % SECRET.encode(),
    "arrays without end": b"[" * DEEP,
    "objects without end": b'{"messages":' * DEEP,
    "deep and whole": b'{"x": ' + b"[" * DEEP + b"]" * DEEP + b"}",
    "another value": b'"%s"' % SECRET.encode(),
}


@pytest.mark.parametrize("path", [CHAT, TEXTS, NATIVE, OLLAMA_CHAT])
@pytest.mark.parametrize("body", NO_JSON.values(), ids=NO_JSON)
def test_what_is_no_json_or_no_request_is_refused(server, path, body):
    assert refused(server, path, body)


NUMBERS = {
    "max_tokens": [0, -2, 1e308, 0.5],
    "temperature": [1e400, -1e-300, 10**400],
    "seed": [1e308, 0.5],
    "n": [10**9, 2**64],
    "top_k": [2**64],
    "presence_penalty": [1e308],
    "logit_bias": [{"1": 1e308}, {"99999999999": 1}, {str(n): 1 for n in range(100_000)}],
}


@pytest.mark.parametrize(
    ("field", "value"),
    [(field, value) for field, values in NUMBERS.items() for value in values],
    ids=lambda one: one if isinstance(one, str) else str(one)[:12],
)
def test_numbers_beyond_what_is_meant_are_refused_by_their_field(server, field, value):
    body = json.dumps({"messages": SAID, field: value}).replace("Infinity", "1e400")
    assert field in refused(server, CHAT, body.encode()).replace("-", "_")


@pytest.mark.parametrize(
    "more", [{"seed": 10**400}, {"seed": -(2**70)}, {"max_tokens": 2**63}, {"max_tokens": 10**400}]
)
def test_as_many_as_can_be_and_any_seed_are_taken(server, more):
    """The embedded model ends its text by itself."""
    assert post(server, CHAT, {"messages": SAID, **more})[0] == 200


def test_ids_that_are_none_are_refused(server):
    for ids in ([2**70], [-1], [10**9], [1e30]):
        assert refused(server, TEXTS, {"prompt": ids})


def test_a_prompt_of_megabytes_is_refused_by_how_long_it_may_be(server):
    told = refused(server, CHAT, {"messages": [{"role": "user", "content": "fox " * 1_500_000}]})
    assert "exceeds 1000000 characters" in told


def nested(depth):
    schema = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {SECRET: schema}}
    return schema


REFUSED_SCHEMAS = {
    "too large": {"enum": [SECRET + "x" * 70_000]},
    "too deep": nested(400),
    "from elsewhere": {"$ref": "http://127.0.0.1:1/schema.json"},
    "from a file": {"$ref": "file:///etc/passwd"},
    "what nothing fits": {"type": "string", "minLength": 9, "maxLength": 2},
    "a pattern that is none": {"type": "string", "pattern": f"({SECRET}"},
    "a length without end": {"type": "string", "minLength": 10**15},
    "no schema": {"type": SECRET},
}
ENDLESS_SCHEMAS = {
    "a circle": {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}},
    "a pattern without end": {"type": "string", "pattern": "(((a{1,1000}){1,1000}){1,1000})"},
    "a billion parts": {"type": "array", "minItems": 10**9, "items": {"type": "null"}},
}


def asking_for(schema):
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    return {"messages": SAID, "response_format": form, "max_tokens": 8}


@pytest.mark.parametrize("schema", REFUSED_SCHEMAS.values(), ids=REFUSED_SCHEMAS)
def test_schemas_that_cannot_be_followed_are_refused(server, schema):
    assert "the schema" in refused(server, CHAT, asking_for(schema))


@pytest.mark.parametrize("schema", ENDLESS_SCHEMAS.values(), ids=ENDLESS_SCHEMAS)
def test_schemas_without_an_end_are_followed_as_far_as_was_asked(server, schema):
    status, told = post(server, CHAT, asking_for(schema))
    assert (status, told["choices"][0]["finish_reason"]) == (200, "length")

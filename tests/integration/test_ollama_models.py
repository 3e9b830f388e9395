"""What Ollama's clients see of models: the one that is served, and a refusal for all others."""

import json
from http.client import HTTPConnection

import pytest

from tests.support.servers import serving


@pytest.fixture(scope="module")
def server(shared_story):
    """A server of the embedded model."""
    with serving(shared_story) as running:
        yield running


def call(server, method, path, body=None):
    """Status and text of an answer."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=20)
    try:
        connection.request(method, path, None if body is None else json.dumps(body))
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_the_served_model_is_listed_with_a_tag_and_is_loaded(server):
    _, listed = call(server, "GET", "/api/tags")
    _, loaded = call(server, "GET", "/api/ps")
    (one,), (running,) = json.loads(listed)["models"], json.loads(loaded)["models"]
    assert one["name"] == running["model"] == "storyteller:latest"
    assert len(one["digest"]) == 64 and one["digest"] == running["digest"]
    assert one["details"]["quantization_level"] == "IQ4_NL"


@pytest.mark.parametrize("name", ["storyteller", "Storyteller:latest"])
def test_a_model_is_shown_with_the_length_of_its_texts(server, name):
    status, text = call(server, "POST", "/api/show", {"model": name})
    info = json.loads(text)["model_info"]
    assert status == 200
    assert info[f"{info['general.architecture']}.context_length"] > 0
    assert info["general.parameter_count"] > 0
    assert json.loads(text)["capabilities"] == ["completion", "tools"]


def test_pulling_the_served_model_succeeds_line_by_line_or_as_one_object(server):
    status, lines = call(server, "POST", "/api/pull", {"model": "storyteller"})
    assert status == 200
    assert [json.loads(line) for line in lines.removesuffix("\n").split("\n")][-1] == {
        "status": "success"
    }
    asked = {"name": "storyteller", "stream": False}
    assert call(server, "POST", "/api/pull", asked) == (200, '{"status":"success"}')


@pytest.mark.parametrize("path", ["/api/show", "/api/pull"])
def test_a_model_that_is_not_served_is_not_found_in_ollamas_words(server, path):
    status, text = call(server, "POST", path, {"model": "llama3"})
    assert (status, json.loads(text)) == (404, {"error": "model 'llama3' not found"})


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("POST", "/api/create"), ("POST", "/api/push"), ("POST", "/api/copy")),
        *(("DELETE", "/api/delete"), ("POST", "/api/blobs/sha256:00")),
    ],
)
def test_what_changes_models_is_refused_by_name(server, method, path):
    status, text = call(server, method, path, {"model": "storyteller"})
    error = json.loads(text)["error"]
    assert status == 501
    assert error.startswith(path.split("/")[2]) and "pi-cluster up" in error

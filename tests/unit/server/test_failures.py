"""What went wrong becomes a status, a code and a sentence, in the form of the API it came by."""

import json

import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from pi_cluster.cluster import errors
from pi_cluster.server.http.failures import error_response, refusal_of, tell_failures
from pi_cluster.server.http.refusal import Refusal
from pi_cluster.transformer import errors as model_errors
from tests.support.asgi import ask


@pytest.mark.parametrize(
    ("error", "status", "code", "retries"),
    [
        (model_errors.PromptTooLong("9 > 8"), 400, "context_length_exceeded", None),
        (model_errors.PromptError("empty"), 400, "invalid_prompt", None),
        (model_errors.SettingsError("top_p"), 400, "invalid_value", None),
        (errors.QueueFull("64 wait"), 429, "queue_full", "true"),
        (errors.PipelineBusy("bench"), 503, "pipeline_busy", "true"),
        (errors.StateError("none is up"), 503, "no_pipeline", "true"),
        (errors.NodeLost("pi2"), 503, "pipeline_lost", "true"),
        (errors.SessionExpired("pi2"), 503, "pipeline_lost", "true"),
        (errors.AccessError("a grant"), 500, "server_error", "false"),
    ],
)
def test_an_error_has_a_status_a_code_and_whether_to_try_again(error, status, code, retries):
    told = refusal_of(error)
    assert (told.status, told.code, told.message) == (status, code, str(error))
    assert told.headers.get("x-should-retry", retries) in (retries, "false")
    assert ("retry-after" in told.headers) == (retries == "true")


@pytest.mark.parametrize(
    ("free_in_s", "retry"), [(None, "10"), (12.2, "13"), (0.01, "1"), (400.0, "60")]
)
def test_a_full_queue_says_when_about_there_will_be_a_place(free_in_s, retry):
    told = refusal_of(errors.QueueFull("64 wait", free_in_s))
    assert told.headers["retry-after"] == retry


def test_a_server_that_ends_says_so_and_to_ask_again():
    told = refusal_of(errors.PipelineClosed("this program has let go of the pipeline"))
    assert (told.status, told.code, told.headers["x-should-retry"]) == (
        *(503, "server_stopping"),
        "true",
    )
    assert "stopped" in told.message and "this program" not in told.message


def test_a_fault_of_ours_is_told_without_its_details():
    told = refusal_of(ValueError("the secret text of somebody"))
    assert told.status == 500 and "secret" not in told.message


def test_each_api_words_an_error_in_its_own_form():
    refusal = Refusal(404, "model_not_found", "no such model", field_name="model")
    openai = error_response("/v1/chat/completions", refusal)
    assert json.loads(openai.body) == {
        "error": {
            "message": "no such model",
            "type": "not_found_error",
            "param": "model",
            "code": "model_not_found",
        }
    }
    ollama = error_response("/api/chat", refusal)
    assert json.loads(ollama.body) == {"error": "no such model"}
    assert (openai.status_code, ollama.status_code) == (404, 404)


def test_what_a_handler_raises_is_answered_by_the_table():
    async def full(_request):
        raise errors.QueueFull("64 requests wait")

    app = Starlette(routes=[Route("/api/chat", full, methods=["POST"])])
    tell_failures(app)
    status, headers, body = ask(app, "POST", "/api/chat")
    assert (status, body) == (429, b'{"error": "64 requests wait"}')
    assert headers["retry-after"] == "10"
    assert ask(app, "GET", "/api/chat")[0] == 405
    status, _, body = ask(app, "GET", "/v1/nothing")
    assert status == 404 and json.loads(body)["error"]["code"] == "not_found"

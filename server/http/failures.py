"""What went wrong, as clients are told: one table from our errors to HTTP's, two ways to word it.

Messages are made for people and name no more of a text than their error does. A fault of ours is
told without its details, which are for the log.
"""

import http
import json
import math
from collections.abc import Mapping

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from pi_cluster.cluster.errors import (
    ClusterError,
    NodeError,
    PipelineBusy,
    PipelineClosed,
    QueueFull,
    SessionYielded,
    StateError,
)
from pi_cluster.server.http.refusal import Refusal
from pi_cluster.transformer.errors import (
    ModelError,
    PromptError,
    PromptTooLong,
    SettingsError,
    UnsupportedTokenizer,
)

BUSY_RETRY_S = 10  # a short answer or two
_LONGEST_RETRY_S = 60  # clients of OpenAI's heed no longer one, and come back in seconds
LOST_RETRY_S = 2  # a session begins anew in less

# The first that fits; subclasses stand before their roots.
_KINDS: tuple[tuple[type[Exception], int, str, int | None], ...] = (
    (ClientDisconnect, 400, "client_left", None),
    (PromptTooLong, 400, "context_length_exceeded", None),
    (PromptError, 400, "invalid_prompt", None),
    (SettingsError, 400, "invalid_value", None),
    (UnsupportedTokenizer, 501, "no_tokenizer", None),
    (QueueFull, 429, "queue_full", BUSY_RETRY_S),
    (PipelineBusy, 503, "pipeline_busy", BUSY_RETRY_S),
    (StateError, 503, "no_pipeline", BUSY_RETRY_S),
    (SessionYielded, 503, "pipeline_lost", LOST_RETRY_S),
    (NodeError, 503, "pipeline_lost", LOST_RETRY_S),
)
_OPENAI_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
_STOPPING = "the server is being stopped: please ask again in a moment"
_FAULT = "the server is at fault, and its log has more: please ask again"


def refusal_of(error: Exception) -> Refusal:
    """What a client is told of an error: status, code, sentence, and whether to try again."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, HTTPException):
        phrase = error.detail or http.HTTPStatus(error.status_code).phrase
        code = "_".join(http.HTTPStatus(error.status_code).phrase.lower().split())
        return Refusal(error.status_code, code, phrase, dict(error.headers or {}))
    if isinstance(error, PipelineClosed):
        return Refusal(503, "server_stopping", _STOPPING, retrying(LOST_RETRY_S))
    for kind, status, code, retry_s in _KINDS:
        if isinstance(error, kind):
            if isinstance(error, QueueFull) and error.free_in_s is not None:
                retry_s = max(1, min(math.ceil(error.free_in_s), _LONGEST_RETRY_S))
            at_fault = error.field_name if isinstance(error, PromptError) else None
            return Refusal(status, code, str(error), retrying(retry_s), at_fault)
    if isinstance(error, ClusterError | ModelError):
        return Refusal(500, "server_error", str(error), retrying(None))
    return Refusal(500, "internal_error", _FAULT, retrying(None))


def retrying(after_s: int | None) -> dict[str, str]:
    """Headers that say whether to try again, and when; None is never."""
    if after_s is None:
        return {"x-should-retry": "false"}
    return {"retry-after": str(after_s), "x-should-retry": "true"}


def openai_error(refusal: Refusal) -> dict[str, object]:
    """The object that OpenAI's clients read."""
    kind = "server_error" if refusal.status >= 500 else "invalid_request_error"
    error = {
        "message": refusal.message,
        "type": _OPENAI_TYPES.get(refusal.status, kind),
        "param": refusal.field_name,
        "code": refusal.code,
    }
    return {"error": error}


def ollama_error(refusal: Refusal) -> dict[str, object]:
    """The object that Ollama's clients read, which take a text and nothing else."""
    return {"error": refusal.message}


def error_body(path: str, refusal: Refusal) -> bytes:
    """The body in the form of the API that ``path`` belongs to."""
    form = ollama_error if path.startswith("/api/") else openai_error
    return json.dumps(form(refusal)).encode()


def error_response(path: str, refusal: Refusal) -> Response:
    """The whole response to a request for ``path``."""
    headers: Mapping[str, str] = refusal.headers
    body = error_body(path, refusal)
    return Response(body, refusal.status, headers, media_type="application/json")


def tell_failures(app: Starlette) -> None:
    """Have what handlers raise answered by the table above."""
    for kind in (Refusal, HTTPException, ClientDisconnect, ClusterError, ModelError, Exception):
        app.add_exception_handler(kind, _told)


async def _told(request: Request, error: Exception) -> Response:
    return error_response(request.url.path, refusal_of(error))

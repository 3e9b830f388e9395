"""Server-sent events, each a line of JSON."""

import msgspec

from pi_cluster.server.http.failures import openai_error, refusal_of

MEDIA_TYPE = "text/event-stream; charset=utf-8"
DONE = b"data: [DONE]\n\n"

_encode = msgspec.json.Encoder().encode


def event(value: object) -> bytes:
    """One event with ``value`` as its data."""
    return b"data: " + _encode(value) + b"\n\n"


def failure_event(error: Exception) -> bytes:
    """The event that stands for the rest of a stream that broke."""
    return event(openai_error(refusal_of(error)))

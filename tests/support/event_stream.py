"""Server-sent events as the strictest of clients read them, over a bare connection."""

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.support.servers import Server

DONE = "[DONE]"


@dataclass(frozen=True, slots=True)
class Comment:
    """A line that is no event."""

    text: str


def parse(lines: Iterator[bytes]) -> Iterator[Any]:
    """Events and comments, by the rules of the HTML standard and those of the strictest clients.

    They hold an event without data for an error, as they do a bare colon, a field other than
    ``data``, and what comes behind the last event.
    """
    data: list[str] = []
    has_ended = False
    for raw in lines:
        assert not has_ended, f"{raw!r} comes behind the end"
        assert raw.endswith(b"\n") and not raw.endswith(b"\r\n"), raw
        line = raw[:-1].decode()
        if not line:
            assert data, "a blank line ends an event that has no data"
            text = "\n".join(data)
            data = []
            has_ended = text == DONE
            yield DONE if has_ended else json.loads(text)
        elif line.startswith(":"):
            assert line.startswith(": ") and len(line) > 2, "a bare colon"
            yield Comment(line[2:])
        else:
            field, _, value = line.partition(": ")
            assert field == "data", line
            data.append(value)
    assert not data, "the stream ends in the midst of an event"


@contextmanager
def posting(
    server: Server, path: str, body: object, timeout_s: float = 40.0, *, progress: bool = False
) -> Iterator[http.client.HTTPResponse]:
    """The response to a request, as who shows ``progress`` asks; it ends with the block."""
    connection = http.client.HTTPConnection(server.host, server.port, timeout=timeout_s)
    try:
        said = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"content-type": "application/json"} | ({"x-progress": "1"} if progress else {})
        connection.request("POST", path, said, headers)
        yield connection.getresponse()
    finally:
        connection.close()


def post(server: Server, path: str, body: object) -> tuple[int, Any]:
    """Status and JSON of the response to a request."""
    with posting(server, path, body) as response:
        return response.status, json.loads(response.read())

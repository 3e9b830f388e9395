"""JSON in and out: the bodies of requests, bounded and decoded, and those of responses."""

import re
from typing import TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from pi_cluster.server.http.refusal import Refusal

MAX_BODY_BYTES = 8 << 20

T = TypeVar("T")

_PLACE = re.compile(r" - at (?:`key` in )?`\$(.*)`$")
_MISSING = re.compile("Object missing required field `([^`]+)`")


async def read_json(request: Request, kind: type[T]) -> T:
    """The request's JSON as a ``kind``; unknown fields are ignored.

    Raises ``Refusal``: 413 beyond `MAX_BODY_BYTES`, 400 for what is no such JSON.
    """
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY_BYTES:
            raise Refusal(
                413, "body_too_large", f"the request has more than {MAX_BODY_BYTES >> 20} MiB"
            )
    try:
        return msgspec.json.decode(bytes(body), type=kind)
    except msgspec.ValidationError as error:
        raise _unfit(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refusal(400, "invalid_json", f"the request cannot be read: {error}") from None


def json_response(value: object) -> Response:
    """All that msgspec can write, with 200."""
    return Response(msgspec.json.encode(value), media_type="application/json")


def _unfit(reason: str) -> Refusal:
    """Words msgspec's reason, which ends with the place in the JSON."""
    why, place = reason, ""
    if found := _PLACE.search(reason):
        why, place = reason[: found.start()], found[1]
    if missing := _MISSING.fullmatch(why):
        place += f".{missing[1]}"
        why = "it is missing"
    name = place.removeprefix(".") or None
    said = f"`{name}`: {why}" if name else f"the request cannot be read: {why}"
    return Refusal(400, "invalid_type", said, field_name=name)

"""Request bodies, bounded and decoded."""

from typing import TypeVar

import msgspec
from starlette.requests import Request

from pi_cluster.server.http.refusal import Refusal

MAX_BODY_BYTES = 8 << 20

T = TypeVar("T")


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
    except msgspec.DecodeError as error:
        raise Refusal(400, "invalid_json", f"the request cannot be read: {error}") from None

"""What browsers ask before, and read after, a page of another origin calls (Fetch standard)."""

from starlette.types import Send

Headers = list[tuple[bytes, bytes]]

_EXPOSED = b"retry-after, x-should-retry, x-request-id"
_REMEMBERED_S = b"600"


def headers_for(origin: str) -> Headers:
    """Let a page of ``origin``, and no other, read a response."""
    return [
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-expose-headers", _EXPOSED),
        (b"vary", b"Origin"),
    ]


def is_preflight(method: str, headers: dict[bytes, bytes]) -> bool:
    """Whether a browser asks if it may send something."""
    return method == "OPTIONS" and b"access-control-request-method" in headers


async def answer_preflight(headers: dict[bytes, bytes], send: Send) -> None:
    """Allow what is asked for; whoever may call at all may call everything."""
    allowed: Headers = [
        (b"access-control-allow-methods", b"GET, HEAD, POST, DELETE"),
        (b"access-control-max-age", _REMEMBERED_S),
    ]
    if wanted := headers.get(b"access-control-request-headers"):
        allowed.append((b"access-control-allow-headers", wanted))
    if headers.get(b"access-control-request-private-network") == b"true":
        allowed.append((b"access-control-allow-private-network", b"true"))
    await send({"type": "http.response.start", "status": 204, "headers": allowed})
    await send({"type": "http.response.body", "body": b"", "more_body": False})

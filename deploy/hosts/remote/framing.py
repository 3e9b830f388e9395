"""Messages over a pipe: a length, JSON, and as many bytes after it as the JSON says.

Four bytes, big-endian, tell the length of the JSON object; its ``bytes``, if it has one, that
of what follows. Both sides use this file.
"""

from __future__ import annotations

import json
import struct
from typing import Any, BinaryIO

MAX_MESSAGE_BYTES = 64 << 20
MAX_PAYLOAD_BYTES = 512 << 20
PIECE_BYTES = 1 << 18


class Ended(Exception):
    """The other side has gone, or says what is no message."""


def send(pipe: BinaryIO, message: dict[str, Any]) -> None:
    """Write a message; what its ``bytes`` announces is the caller's to write after it."""
    data = json.dumps(message).encode()
    if len(data) > MAX_MESSAGE_BYTES:
        raise Ended(f"a message of {len(data)} bytes is too long")
    pipe.write(struct.pack(">I", len(data)) + data)
    pipe.flush()


def receive(pipe: BinaryIO) -> dict[str, Any]:
    """Read a message. Raises ``Ended`` when there is none."""
    (length,) = struct.unpack(">I", exactly(pipe, 4))
    if length > MAX_MESSAGE_BYTES:
        raise Ended(f"a message of {length} bytes is none")
    try:
        message = json.loads(exactly(pipe, length).decode())
    except (ValueError, RecursionError):
        raise Ended("what came is no JSON") from None
    if not isinstance(message, dict):
        raise Ended("what came is no message")
    payload = message.get("bytes", 0)
    if type(payload) is not int or not 0 <= payload <= MAX_PAYLOAD_BYTES:
        raise Ended(f"a message announces {payload!r} bytes")
    return message


def exactly(pipe: BinaryIO, count: int) -> bytes:
    """So many bytes of the pipe. Raises ``Ended`` when they do not come."""
    data = b""
    while len(data) < count:
        piece = pipe.read(count - len(data))
        if not piece:
            raise Ended("the connection ended")
        data += piece
    return data

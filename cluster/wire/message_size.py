"""How much of an encoded message is not its large fields, found without decoding it.

A message of many small fields takes some forty times its bytes once it is decoded; a large field of
bytes takes its own size. So a large message is taken only if nearly all of it is such fields.
"""

from collections.abc import Sequence

from pi_cluster.cluster.errors import NodeError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_VARINT_BYTES = 10


def bytes_beside(data: bytes | memoryview, *paths: Sequence[int]) -> int:
    """Bytes of a protobuf message that do not belong to the fields at ``paths``.

    A path holds field numbers, from outside to inside: ``(2, 4)`` is field 4 of the message in
    field 2. Of a repeated field, tags and lengths count from the second on: a million empty ones
    are not large. Raises ``NodeError`` when the bytes are no message.
    """
    view, at, beside = memoryview(data), 0, 0
    met = set[int]()
    while at < len(view):
        began = at
        tag, at = _varint(view, at)
        kind, number = tag & 7, tag >> 3
        if kind == _BYTES:
            size, at = _varint(view, at)
            inner, at = view[at : at + size], at + size
            if within := [path[1:] for path in paths if path[0] == number]:
                beside += bytes_beside(inner, *within) if all(within) else 0
                beside += at - len(inner) - began if number in met else 0
                met.add(number)
                began = at
        elif kind == _VARINT:
            _, at = _varint(view, at)
        elif kind in (_FIXED64, _FIXED32):
            at += 8 if kind == _FIXED64 else 4
        else:
            raise _not_a_message()
        beside += at - began
    if at != len(view):
        raise _not_a_message()
    return beside


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for index in range(min(_MAX_VARINT_BYTES, len(view) - at)):
        byte = view[at + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, at + index + 1
    raise _not_a_message()


def _not_a_message() -> NodeError:
    return NodeError("a message came that cannot be decoded")

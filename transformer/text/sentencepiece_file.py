"""Changes to the bytes of a SentencePiece model, which is one Protocol Buffers message.

Of a field that occurs twice in such a message, the later value holds: a change is appended. Field
numbers are those of sentencepiece_model.proto.
"""

from collections.abc import Collection, Iterator

# ModelProto {normalizer_spec {add_dummy_prefix: false}}
WITHOUT_DUMMY_PREFIX = b"\x1a\x02\x18\x00"

_PIECES_TAG = 0x0A  # ModelProto.pieces, length-delimited
_TYPE_IS_UNUSED = b"\x18\x05"  # SentencePiece {type: UNUSED}


def with_pieces_unused(model: bytes, ids: Collection[int]) -> bytes:
    """``model`` that spells no text with the pieces of these ids; the other ids stay.

    Raises ``ValueError`` where ``model`` is torn.
    """
    parts, piece_id = [], 0
    for tag, start, body, end in _fields(model):
        if tag == _PIECES_TAG:
            if piece_id in ids:
                piece = model[body:end] + _TYPE_IS_UNUSED
                parts.append(bytes([tag]) + varint(len(piece)) + piece)
                start = end
            piece_id += 1
        parts.append(model[start:end])
    return b"".join(parts)


def _fields(message: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Each top-level field: its tag, where it starts, where its value starts, where it ends."""
    at = 0
    while at < len(message):
        start = at
        tag, at = _read_varint(message, at)
        match tag & 7:
            case 0:
                body, (_, end) = at, _read_varint(message, at)
            case 1:
                body, end = at, at + 8
            case 2:
                length, body = _read_varint(message, at)
                end = body + length
            case 5:
                body, end = at, at + 4
            case _:
                raise ValueError(f"wire type {tag & 7} at byte {start}")
        if end > len(message):
            raise ValueError(f"the field at byte {start} ends behind the message")
        yield tag, start, body, end
        at = end


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 64 and at < len(message):
        byte = message[at]
        value, at, shift = value | (byte & 0x7F) << shift, at + 1, shift + 7
        if byte < 0x80:
            return value, at
    raise ValueError(f"no number ends at byte {at}")


def varint(value: int) -> bytes:
    """A whole number as the format writes it."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])

"""Messages of the wire as values for ``json``: names as in the contract, numbers as numbers."""

import math
from typing import Any

from google.protobuf.message import Message


def to_json(message: Message) -> dict[str, Any]:
    """All fields of a message; those that may be absent, and are, become None."""
    values: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.has_presence and not message.HasField(field.name):
            values[field.name] = None
        elif field.is_repeated:
            values[field.name] = [_value(entry) for entry in value]
        else:
            values[field.name] = _value(value)
    return values


def _value(value: Any) -> Any:
    if isinstance(value, Message):
        return to_json(value)
    if isinstance(value, bytes):
        return value.hex()
    # JSON has no word for them, and a stranger may send them.
    return None if isinstance(value, float) and not math.isfinite(value) else value

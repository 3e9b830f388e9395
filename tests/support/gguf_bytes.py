"""GGUF files byte by byte, so that tests can write what no sound program would."""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pi_cluster.shard_tool.gguf.ggml_types import TYPES

_NUMBER_OF = {type_.name: type_.number for type_ in TYPES.values()}
_KINDS = {"B": 0, "b": 1, "H": 2, "h": 3, "I": 4, "i": 5, "f": 6, "?": 7, "Q": 10, "q": 11, "d": 12}
_STRING, _ARRAY = 8, 9


@dataclass(frozen=True)
class Typed:
    """A value that is written as the type of this letter, one of ``struct``'s."""

    letter: str
    value: Any


@dataclass(frozen=True)
class TensorBytes:
    """A tensor: its shape as a store has it, ``(rows, columns)``, and ``data (rows, bytes)``."""

    type_name: str
    shape: tuple[int, ...]
    data: NDArray[np.uint8]


def gguf_bytes(
    values: Mapping[str, Any],
    tensors: Mapping[str, TensorBytes] | None = None,
    *,
    magic: bytes = b"GGUF",
    version: int = 3,
    n_tensors: int | None = None,
    n_keys: int | None = None,
    alignment: int = 32,
    offsets: Mapping[str, int] | None = None,
) -> bytes:
    """A whole file. Each of the last arguments takes the place of what would be right."""
    tensors = tensors or {}
    parts = [magic, struct.pack("<I", version)]
    parts.append(struct.pack("<Q", len(tensors) if n_tensors is None else n_tensors))
    parts.append(struct.pack("<Q", len(values) if n_keys is None else n_keys))
    parts += [text(key) + value_bytes(value) for key, value in values.items()]
    end, data = 0, []
    for name, tensor in tensors.items():
        offset = (offsets or {}).get(name, end)
        parts.append(text(name) + struct.pack("<I", len(tensor.shape)))
        parts.append(struct.pack(f"<{len(tensor.shape)}Q", *tensor.shape[::-1]))
        parts.append(struct.pack("<IQ", _NUMBER_OF[tensor.type_name], offset))
        raw = tensor.data.tobytes()
        data.append(raw + bytes(-len(raw) % alignment))
        end += len(data[-1])
    header = b"".join(parts)
    return b"".join([header, bytes(-len(header) % alignment), *data])


def text(value: str | bytes) -> bytes:
    """A text with its length before it."""
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def value_bytes(value: Any) -> bytes:
    """A value with its type before it: lists are of texts, whole numbers have 32 bits."""
    match value:
        case Typed(letter, number):
            return struct.pack("<I" + letter, _KINDS[letter], number)
        case bool():
            return struct.pack("<I?", _KINDS["?"], value)
        case int():
            return struct.pack("<II", _KINDS["I"], value)
        case float():
            return struct.pack("<If", _KINDS["f"], value)
        case str() | bytes():
            return struct.pack("<I", _STRING) + text(value)
        case np.ndarray():
            head = struct.pack("<IIQ", _ARRAY, _KINDS[value.dtype.char], len(value))
            return head + value.tobytes()
        case Sequence():
            head = struct.pack("<IIQ", _ARRAY, _STRING, len(value))
            return head + b"".join(map(text, value))
    raise TypeError(value)


def float32_tensor(values: NDArray[np.float32]) -> TensorBytes:
    """A tensor of plain numbers."""
    raw = np.ascontiguousarray(values, "<f4")
    return TensorBytes("F32", values.shape, raw.view(np.uint8).reshape(len(values), -1))

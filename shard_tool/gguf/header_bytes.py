"""The bytes of a GGUF's header, taken one value at a time and never more than are there.

Whatever a count or a length claims, nothing is allocated for it before it is known that the file
has as many bytes. Errors are `CheckpointError` and name the file.
"""

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from pi_cluster.cluster.errors import CheckpointError

MAX_HEADER_BYTES = 64_000_000  # that of a vocabulary of 262 144 pieces has 6 500 000
MAX_ELEMENTS = 4_000_000
"""Of all lists of texts together: each of them takes some sixty bytes of memory."""

MAX_NAME_BYTES = 256
MAX_TEXT_BYTES = 32_000_000
_STRING, _ARRAY = 8, 9
_NUMBERS: dict[int, np.dtype[Any]] = {
    0: np.dtype("<u1"),
    1: np.dtype("<i1"),
    2: np.dtype("<u2"),
    3: np.dtype("<i2"),
    4: np.dtype("<u4"),
    5: np.dtype("<i4"),
    6: np.dtype("<f4"),
    7: np.dtype("?"),
    10: np.dtype("<u8"),
    11: np.dtype("<i8"),
    12: np.dtype("<f8"),
}


class Readable(Protocol):
    """What gives the bytes of a file from its beginning on, wherever that file lies."""

    def read(self, count: int, /) -> bytes:
        """The next ``count`` bytes; fewer only at the end."""
        ...


@dataclass(slots=True)
class HeaderBytes:
    """A file that is read from its beginning; ``size_bytes`` is the whole file's."""

    path: Path
    file: Readable
    size_bytes: int
    position: int = 0
    _elements: int = field(default=0)

    def take(self, count: int, what: str) -> bytes:
        """The next ``count`` bytes, which are ``what``."""
        end = self.position + count
        if end > self.size_bytes:
            raise CheckpointError(
                f"{self.path} is torn: its header would end behind byte {end}, with {what}, and "
                f"the file has {self.size_bytes}. Fetch it again"
            )
        if end > MAX_HEADER_BYTES:
            raise self.unsound(f"its header has more than {MAX_HEADER_BYTES} bytes, with {what}")
        data = self.file.read(count)
        if len(data) != count:
            raise CheckpointError(f"{self.path} has become shorter while it was read")
        self.position = end
        return data

    def number(self, form: str, what: str) -> int:
        """An unsigned whole number, ``I`` of four bytes or ``Q`` of eight."""
        value: int = struct.unpack("<" + form, self.take(struct.calcsize(form), what))[0]
        return value

    def text(self, what: str, most_bytes: int) -> str:
        """A text with its length before it."""
        length = self.number("Q", what)
        if length > most_bytes:
            raise self.unsound(f"{what} would have {length} bytes; at most {most_bytes} are read")
        data = self.take(length, what)
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise self.unsound(f"{what} is not UTF-8 text ({error})") from None

    def value(self, key: str) -> Any:
        """The value of ``key`` with its type before it: a number, a text, or a list of them.

        Lists of numbers come as arrays of numpy.
        """
        kind = self.number("I", f"the type of {key}")
        if kind == _STRING:
            return self.text(key, MAX_TEXT_BYTES)
        if kind == _ARRAY:
            return self._list(key)
        dtype = self._dtype(kind, key)
        return np.frombuffer(self.take(dtype.itemsize, key), _stored(dtype))[0].astype(dtype).item()

    def unsound(self, fault: str) -> CheckpointError:
        """The error for a file that cannot be what it claims to be."""
        return CheckpointError(f"{self.path} is no sound GGUF: {fault}. Fetch it again")

    def _list(self, key: str) -> Any:
        kind = self.number("I", f"the type of {key}")
        count = self.number("Q", f"the length of {key}")
        if kind == _STRING:
            self._elements += count
            if self._elements > MAX_ELEMENTS:
                raise self.unsound(f"{key} lists {count} texts; {MAX_ELEMENTS} in all are read")
            entry = f"an entry of {key}"
            return [self.text(entry, MAX_TEXT_BYTES) for _ in range(count)]
        if kind == _ARRAY:
            raise self.unsound(f"{key} is a list of lists, which no key here is")
        dtype = self._dtype(kind, key)
        if count > MAX_HEADER_BYTES:
            raise self.unsound(f"{key} lists {count} numbers")
        return np.frombuffer(self.take(count * dtype.itemsize, key), _stored(dtype)).astype(dtype)

    def _dtype(self, kind: int, key: str) -> np.dtype[Any]:
        if kind not in _NUMBERS:
            raise self.unsound(f"{key} has a value of type {kind}, which does not exist")
        return _NUMBERS[kind]


def _stored(dtype: np.dtype[Any]) -> np.dtype[Any]:
    # A byte that is neither 0 nor 1 makes a bool that is neither true nor false.
    return np.dtype("u1") if dtype == np.bool_ else dtype

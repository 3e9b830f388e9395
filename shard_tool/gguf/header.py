"""The header of one GGUF file: its keys, and where its tensors lie, all of it checked.

The format (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md): magic, version, the number
of tensors and of keys, the keys with their values, then name, shape, format and offset of each
tensor; the tensors follow, each at a multiple of ``general.alignment``. The ``gguf`` package has a
reader, too. It is not used: it takes 22 s for a vocabulary of 262 144 pieces, and believes counts
and lengths that the file does not bear out.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pi_cluster.cluster.errors import CheckpointError
from pi_cluster.shard_tool.gguf.ggml_types import TYPES, GgmlType
from pi_cluster.shard_tool.gguf.header_bytes import MAX_NAME_BYTES, HeaderBytes

MAX_KEYS = 4_096
MAX_TENSORS = 65_536
_MAGIC = b"GGUF"
_OLDER_MAGICS = (b"ggjt", b"tjgg", b"ggla", b"algg", b"lmgg", b"ggml", b"fmgg", b"ggmf")
_VERSIONS = (2, 3)  # the second differs from the third in nothing that is read here
_DEFAULT_ALIGNMENT = 32
_MAX_ALIGNMENT = 1 << 20
_MAX_DIMENSIONS = 4
_MAX_SIDE = 1 << 32
_ANOTHER_FILE = "fetch a newer GGUF of the same model"


@dataclass(frozen=True, slots=True)
class TensorPlace:
    """One tensor of a file: ``offset`` counts bytes from the start of the file.

    ``shape`` is ``(rows, columns)`` or ``(length,)``: the other way round than in the file.
    """

    name: str
    type: GgmlType
    shape: tuple[int, ...]
    offset: int
    size_bytes: int

    @property
    def dtype(self) -> str:
        """What ggml calls the format."""
        return self.type.name


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of itself; every tensor lies within it, and none over another."""

    path: Path
    values: Mapping[str, Any]
    tensors: Mapping[str, TensorPlace]


def is_gguf(path: Path) -> bool:
    """Whether the file begins as a GGUF does. Raises ``OSError``."""
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def read_header(path: Path) -> Header:
    """Read and check the header of a file.

    Raises ``CheckpointError`` naming the file, and the key or tensor that is at fault.
    """
    try:
        with path.open("rb") as file:
            return read_beginning(HeaderBytes(path, file, path.stat().st_size))
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}") from error


def read_beginning(source: HeaderBytes) -> Header:
    """Read and check the header of a file of which only that need be there; raises the same."""
    _check_magic(source)
    n_tensors = source.number("Q", "the number of tensors")
    n_keys = source.number("Q", "the number of keys")
    if n_tensors > MAX_TENSORS:
        raise source.unsound(f"it claims {n_tensors} tensors; at most {MAX_TENSORS} are read")
    if n_keys > MAX_KEYS:
        raise source.unsound(f"it claims {n_keys} keys; at most {MAX_KEYS} are read")
    values: dict[str, Any] = {}
    for number in range(n_keys):
        key = source.text(f"the name of key {number}", MAX_NAME_BYTES)
        if key in values:
            raise source.unsound(f"it has the key {key!r} twice")
        values[key] = source.value(key)
    entries = [_tensor(source, number) for number in range(n_tensors)]
    alignment = _alignment(source, values)
    start = -(-source.position // alignment) * alignment
    return Header(source.path, values, _placed(source, entries, start, alignment))


def _check_magic(source: HeaderBytes) -> None:
    path = source.path
    if source.size_bytes == 0:
        raise CheckpointError(f"{path} is empty. Fetch it again")
    magic = source.take(min(4, source.size_bytes), "its magic")
    if magic in _OLDER_MAGICS:
        raise CheckpointError(
            f"{path} is of a format before GGUF, as of early 2023: {_ANOTHER_FILE}"
        )
    if magic != _MAGIC:
        raise CheckpointError(f"{path} is no GGUF: it begins with {magic!r}. Fetch it again")
    version = source.number("I", "its version")
    if version & 0xFFFF == 0 and version:
        raise CheckpointError(
            f"{path} is for big-endian machines, which Pis are not: fetch the usual file"
        )
    if version == 1:
        raise CheckpointError(f"{path} is a GGUF of version 1, of 2023: {_ANOTHER_FILE}")
    if version not in _VERSIONS:
        raise CheckpointError(
            f"{path} is a GGUF of version {version}; versions 2 and 3 are read. Update pi-cluster, "
            "or fetch a GGUF of version 3"
        )


def _tensor(source: HeaderBytes, number: int) -> TensorPlace:
    name = source.text(f"the name of tensor {number}", MAX_NAME_BYTES)
    what = f"what it says of tensor {name!r}"
    n_dimensions = source.number("I", what)
    if not 1 <= n_dimensions <= _MAX_DIMENSIONS:
        raise source.unsound(f"tensor {name!r} has {n_dimensions} dimensions")
    shape = tuple(source.number("Q", what) for _ in range(n_dimensions))
    if not all(1 <= side <= _MAX_SIDE for side in shape):
        raise source.unsound(f"tensor {name!r} has the sides {shape}")
    type_number, offset = source.number("I", what), source.number("Q", what)
    if type_number not in TYPES:
        raise CheckpointError(
            f"tensor {name!r} of {source.path} is of format {type_number}, which is not known: "
            "fetch the Q4_K_M or the Q8_0 file of the same model"
        )
    type_ = TYPES[type_number]
    if shape[0] % type_.block_columns:
        raise source.unsound(
            f"tensor {name!r} has rows of {shape[0]} weights; {type_.name} has blocks of "
            f"{type_.block_columns}"
        )
    size_bytes = type_.row_bytes(shape[0]) * math.prod(shape[1:])
    return TensorPlace(name, type_, shape[::-1], offset, size_bytes)


def _alignment(source: HeaderBytes, values: Mapping[str, Any]) -> int:
    alignment = values.get("general.alignment", _DEFAULT_ALIGNMENT)
    is_power = type(alignment) is int and alignment > 0 and alignment & (alignment - 1) == 0
    if not is_power or alignment > _MAX_ALIGNMENT:
        raise source.unsound(f"general.alignment is {alignment!r}, not a power of two")
    return int(alignment)


def _placed(
    source: HeaderBytes, entries: list[TensorPlace], start: int, alignment: int
) -> dict[str, TensorPlace]:
    placed: dict[str, TensorPlace] = {}
    end, last = start, ""
    for entry in sorted(entries, key=lambda entry: entry.offset):
        offset = start + entry.offset
        if entry.name in placed:
            raise source.unsound(f"it has the tensor {entry.name!r} twice")
        if entry.offset % alignment:
            raise source.unsound(f"tensor {entry.name!r} is not at a multiple of {alignment}")
        if offset < end:
            raise source.unsound(f"tensors {last!r} and {entry.name!r} lie over each other")
        end, last = offset + entry.size_bytes, entry.name
        if end > source.size_bytes:
            raise CheckpointError(
                f"{source.path} is torn: tensor {entry.name!r} would end at byte {end}, and the "
                f"file has {source.size_bytes}. Fetch it again"
            )
        placed[entry.name] = TensorPlace(
            entry.name, entry.type, entry.shape, offset, entry.size_bytes
        )
    return placed

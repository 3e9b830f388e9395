"""Safetensors files, to be read: checked when opened, then mapped or read by rows.

The format (https://github.com/huggingface/safetensors): eight bytes of header length, a JSON
header ``{name: {dtype, shape, data_offsets}}``, then the tensors one after the other without
holes. Its numpy reader knows no bfloat16; this one does. ``tensor_writing.py`` writes such files.
"""

import json
import mmap
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from pi_cluster.cluster.errors import StoreError

ALIGNMENT = 64  # a cache line, and the widest vector load there is
PADDING_PREFIX = "pi_cluster.padding."
"""Tensors of this name fill the gaps that alignment needs and the format forbids."""

_PIECE_BYTES = 1 << 20
MAX_HEADER_BYTES = 16_000_000  # a header of a 7B model has 40 000

NUMPY_DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U64": np.dtype("<u8"),
    "U32": np.dtype("<u4"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
}
_ROW_DTYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
}
_OTHER_DTYPES = {
    *("BF16", "BOOL", "C64", "F4", "F6_E2M3", "F6_E3M2"),
    *("F8_E4M3", "F8_E4M3FNUZ", "F8_E5M2", "F8_E5M2FNUZ", "F8_E8M0"),
}


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor of a file; ``offset`` counts bytes from the start of the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    size_bytes: int


class TensorFile:
    """One safetensors file, whose header and bounds are known to be sound.

    Nothing but the header is read until asked for. Arrays from ``map`` share one read-only
    mapping and stay valid after ``close``: the mapping ends with the last of them. Raises
    ``StoreError`` naming the file if it is missing or torn.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._mapping: mmap.mmap | None = None
        try:
            self._descriptor = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise StoreError(f"cannot open {path}: {error.strerror}") from error
        try:
            self._tensors = _read_header(path, self._descriptor)
        except BaseException:
            self.close()
            raise

    @property
    def names(self) -> tuple[str, ...]:
        """The tensors' names in the order of the file, without padding."""
        return tuple(self._tensors)

    def info(self, name: str) -> TensorInfo:
        """Look up one tensor; raises ``StoreError`` if the file has none of this name."""
        try:
            return self._tensors[name]
        except KeyError:
            raise StoreError(f"{self.path} has no tensor {name!r}") from None

    def map(self, name: str) -> NDArray[Any]:
        """Return a tensor as a read-only view into the mapped file, without copying.

        Raises ``StoreError`` if the tensor is missing or numpy has no such dtype.
        """
        info = self.info(name)
        if info.dtype not in NUMPY_DTYPES:
            raise self._not_readable(info, NUMPY_DTYPES)
        if self._mapping is None:
            try:
                self._mapping = mmap.mmap(self._descriptor, 0, access=mmap.ACCESS_READ)
            except OSError as error:
                raise StoreError(f"cannot map {self.path}: {error.strerror}") from error
        if info.offset + info.size_bytes > len(self._mapping):
            raise StoreError(f"{self.path} has become shorter since it was opened")
        return np.ndarray(info.shape, NUMPY_DTYPES[info.dtype], self._mapping, info.offset)

    def read_rows(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        """Read rows ``start`` up to but not including ``stop`` as float32.

        Shapes: of a tensor ``(rows, ...)``, the result is ``(stop - start, ...)``. Reads from
        the file rather than the mapping, so that resident memory holds these rows and no more.
        Raises ``StoreError`` naming tensor and dtype unless it is F32, F16 or BF16.
        """
        info = self.info(name)
        if info.dtype not in _ROW_DTYPES:
            raise self._not_readable(info, _ROW_DTYPES)
        assert info.shape and 0 <= start <= stop <= info.shape[0], (name, start, stop)
        raw = np.empty((stop - start, *info.shape[1:]), _ROW_DTYPES[info.dtype])
        row_bytes = info.size_bytes // max(info.shape[0], 1)
        target = raw.reshape(-1).view(np.uint8).data
        read_into(self.path, self._descriptor, target, info.offset + start * row_bytes)
        if info.dtype == "BF16":
            wide = raw.astype(np.uint32)
            wide <<= 16
            raw = wide.view(np.float32)
        rows: NDArray[np.float32] = raw.astype(np.float32, copy=False)
        return rows

    def close(self) -> None:
        """Close the file; arrays from ``map`` live on."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1
        self._mapping = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def _not_readable(self, info: TensorInfo, known: Iterable[str]) -> StoreError:
        return StoreError(
            f"tensor {info.name!r} of {self.path} has dtype {info.dtype}, "
            f"which cannot be read here; {', '.join(known)} can"
        )


def read_into(path: Path, descriptor: int, target: memoryview, offset: int) -> None:
    """Fill ``target`` with an open file's bytes from ``offset`` on.

    Raises ``StoreError`` naming ``path`` where they cannot be read, or are not there any more.
    """
    while target:
        try:
            count = _read_at(descriptor, target, offset)
        except OSError as error:
            raise StoreError(f"cannot read {path}: {error.strerror}") from error
        if count == 0:
            raise StoreError(f"{path} has become shorter since it was opened")
        target, offset = target[count:], offset + count


def _read_at(descriptor: int, target: memoryview, offset: int) -> int:
    """Fill the beginning of ``target``; returns how many bytes of it."""
    if hasattr(os, "preadv"):
        return os.preadv(descriptor, [target], offset)
    piece = os.pread(descriptor, min(len(target), _PIECE_BYTES), offset)  # some Macs
    target[: len(piece)] = piece
    return len(piece)


def size_bytes(dtype: str, shape: tuple[int, ...]) -> int:
    """Bytes of a tensor of the format's ``dtype``, one of ``NUMPY_DTYPES``."""
    count = NUMPY_DTYPES[dtype].itemsize
    for length in shape:
        count *= length
    return count


def _read_header(path: Path, descriptor: int) -> dict[str, TensorInfo]:
    header, data_start = _parse_header(path, descriptor)
    tensors = []
    for name, entry in header.items():
        if name == "__metadata__" or name.startswith(PADDING_PREFIX):
            continue
        dtype = entry.get("dtype") if isinstance(entry, dict) else None
        if isinstance(dtype, str) and dtype not in NUMPY_DTYPES and dtype not in _OTHER_DTYPES:
            raise StoreError(f"tensor {name!r} of {path} has dtype {dtype!r}, which is not known")
        tensors.append((name, entry))
    try:
        with safe_open(path, framework="numpy"):
            pass
    except (SafetensorError, OSError, ValueError, OverflowError) as error:
        raise StoreError(f"{path} is torn or not a safetensors file: {error}") from error
    infos = []
    for name, entry in tensors:
        start, end = entry["data_offsets"]
        shape = tuple(entry["shape"])
        infos.append(TensorInfo(name, entry["dtype"], shape, data_start + start, end - start))
    return {info.name: info for info in sorted(infos, key=lambda info: info.offset)}


def _parse_header(path: Path, descriptor: int) -> tuple[dict[str, Any], int]:
    try:
        available = os.fstat(descriptor).st_size
        length = int.from_bytes(os.pread(descriptor, 8, 0), "little")
        if available < 8 or length > min(available - 8, MAX_HEADER_BYTES):
            raise StoreError(
                f"{path} is torn or not a safetensors file: it has {available} bytes, "
                f"and its header claims {length}"
            )
        header = json.loads(os.pread(descriptor, length, 8))
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{path} is torn or not a safetensors file: {error}") from error
    if not isinstance(header, dict):
        raise StoreError(f"{path} is torn or not a safetensors file: its header is no object")
    return header, 8 + length

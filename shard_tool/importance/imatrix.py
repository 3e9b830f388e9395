"""Importance as llama.cpp's ``llama-imatrix`` writes it: sums of squares of each matrix's input.

A GGUF whose ``general.type`` is ``imatrix``. Of the matrix ``NAME``, as the model's GGUF calls it,
``NAME.in_sum2`` has the sums, of each expert if there are several, and ``NAME.counts`` the rows
that were summed. Source: llama.cpp, tools/imatrix/imatrix.cpp.
"""

import hashlib
import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from pi_cluster.cluster.errors import CheckpointError, StoreError
from pi_cluster.shard_tool.gguf.header import Header, TensorPlace, is_gguf, read_header
from pi_cluster.shard_tool.gguf.keys import Keys
from pi_cluster.shard_tool.gguf.weight_file import GgufFile
from pi_cluster.shard_tool.importance.importance import Array, Importance, weighable
from pi_cluster.shard_tool.origin import IMATRIX, WeighedBy
from pi_cluster.shard_tool.sources.checkpoint import Checkpoint
from pi_cluster.transformer.families.tensor_forms import GGUF_NORM

_SUMS, _COUNTS = ".in_sum2", ".counts"
_OF_A_LAYER = re.compile(r"blk\.\d+\.")
_HEAD = "output.weight"
_MAKE_ONE = "make one of this model with llama.cpp's llama-imatrix, or use --calibrate"
_OLDER_BEGINNING = 4 + 4 + 256  # the number of entries, and the length and name of the first


@dataclass(frozen=True)
class Imatrix:
    """The file ``path`` as an ``ImportanceSource``."""

    path: Path

    @cached_property
    def identity(self) -> str:
        """The file's content."""
        return f"{IMATRIX} {self._sha256}"

    def importance(self, checkpoint: Checkpoint) -> Importance:
        """Means of squares, of every matrix of the layers and of the head if the file has it.

        Raises ``CheckpointError`` for a file that is torn, of another kind, or of another model.
        """
        header = _checked_header(self.path)
        wanted = weighable(checkpoint.config)
        _refuse_other_models(header, wanted)
        keys = Keys(self.path, header.values)
        chunks, size = (keys.whole(f"imatrix.chunk_{what}") for what in ("count", "size"))
        tokens = None if chunks is None or size is None else chunks * size
        origin = WeighedBy(IMATRIX, self.path.name, self._sha256, tokens)
        try:
            with GgufFile(self.path, header.tensors) as file:
                means = {
                    name: _means(file, header, _theirs(name), columns)
                    for name, columns in wanted.items()
                    if name != _HEAD or _theirs(name) + _SUMS in header.tensors
                }
        except StoreError as error:
            raise CheckpointError(str(error)) from error
        return Importance(origin, means)

    @cached_property
    def _sha256(self) -> str:
        try:
            with self.path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise CheckpointError(f"cannot read {self.path}: {error.strerror}") from error


def _theirs(name: str) -> str:
    """llama.cpp's name. Its two orders of rows are no matter to columns."""
    return GGUF_NORM.name_of(name)


def _checked_header(path: Path) -> Header:
    try:
        if not is_gguf(path):
            raise CheckpointError(_why_no_gguf(path))
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}") from error
    header = read_header(path)
    kind = Keys(path, header.values).text("general.type")
    if kind != IMATRIX:
        said = "does not say what it is" if kind is None else f"is of the kind {kind!r}"
        raise CheckpointError(
            f"{path} is no imatrix: it {said} (general.type). Name the file that llama-imatrix "
            "wrote"
        )
    return header


def _why_no_gguf(path: Path) -> str:
    with path.open("rb") as file:
        beginning = file.read(_OLDER_BEGINNING)
    if _is_older(beginning):
        return (
            f"{path} is an imatrix in llama.cpp's older form, which is not read: write it anew as "
            f"a GGUF, `llama-imatrix --in-file {path.name} -o imatrix.gguf`"
        )
    return f"{path} is no imatrix of llama.cpp: it begins as no GGUF does"


def _is_older(beginning: bytes) -> bool:
    """Whether it begins with a number of entries, then the length of a name and the name."""
    if len(beginning) < 8:
        return False
    entries, length = struct.unpack("<ii", beginning[:8])
    name = beginning[8 : 8 + max(0, length)]
    return entries > 0 and 0 < length <= 256 and len(name) == length and name.endswith(b".weight")


def _refuse_other_models(header: Header, wanted: Mapping[str, int]) -> None:
    """Refuse a file that lacks a matrix of the layers, or has one that the model has not."""
    path, names = header.path, {_theirs(name) for name in wanted}
    theirs = {n.removesuffix(_SUMS) for n in header.tensors if n.endswith(_SUMS)}
    of_layers = {name for name in theirs if _OF_A_LAYER.match(name)}
    if foreign := sorted(of_layers - names):
        raise CheckpointError(
            f"{path} is of another model: it has {foreign[0]}, and this one has no such matrix. "
            f"To go on, {_MAKE_ONE}"
        )
    lacking = [name for name in map(_theirs, wanted) if name not in theirs and name != _HEAD]
    if lacking:
        more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
        what = "is not whole, or of another model" if of_layers else "knows no layers"
        raise CheckpointError(
            f"{path} {what}: it has nothing on {lacking[0]}{more}. To go on, {_MAKE_ONE}"
        )


def _means(file: GgufFile, header: Header, name: str, columns: int) -> Array:
    sums = _vector(file, header, name + _SUMS, columns)
    (count,) = _vector(file, header, name + _COUNTS, 1)
    if not count > 0:
        raise CheckpointError(
            f"{file.path} has seen no text with {name}: its count is {count:g}. To go on, "
            f"{_MAKE_ONE}"
        )
    with np.errstate(over="ignore"):
        means: Array = sums / count
    if not np.isfinite(means).all():
        raise CheckpointError(f"{file.path} has a mean of {name} that is not finite")
    return means


def _vector(file: GgufFile, header: Header, name: str, length: int) -> Array:
    """A tensor of so many numbers, none of them negative."""
    place = header.tensors.get(name)
    if place is None:
        raise CheckpointError(f"{file.path} lacks the tensor {name!r}. Fetch it again")
    _check_shape(file.path, place, length)
    values = file.read_rows(name, 0, place.shape[0]).reshape(-1)
    if not (np.isfinite(values).all() and (values >= 0).all()):
        raise CheckpointError(
            f"tensor {name!r} of {file.path} has a number that is negative or not finite. Fetch "
            "it again"
        )
    return values


def _check_shape(path: Path, place: TensorPlace, length: int) -> None:
    if place.dtype != "F32" or len(place.shape) > 2:
        raise CheckpointError(
            f"tensor {place.name!r} of {path} is {place.dtype} of {len(place.shape)} dimensions; "
            "an imatrix has F32 of one or two"
        )
    if math.prod(place.shape[:-1]) > 1:
        raise CheckpointError(
            f"{path} is of another model: {place.name!r} has {place.shape[0]} experts, and this "
            f"one has none. To go on, {_MAKE_ONE}"
        )
    if place.shape[-1] != length:
        raise CheckpointError(
            f"{path} is of another model: {place.name!r} has {place.shape[-1]} numbers, and this "
            f"one takes {length}. To go on, {_MAKE_ONE}"
        )

"""What a calibration has found so far, on disk: an interrupted one goes on, a finished one is kept.

A folder stands for one model and one text. ``begun.safetensors`` has the hidden states behind the
last finished layer and the means of all layers before; ``means.safetensors`` has all means, and
takes its place at the end.
"""

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pi_cluster.cluster.errors import StoreError
from pi_cluster.cluster.store.tensor_file import TensorFile
from pi_cluster.cluster.store.tensor_writing import TensorSource, write_tensor_file
from pi_cluster.shard_tool.importance.importance import Array
from pi_cluster.shard_tool.sources.names import layer_of

_BEGUN, _FINISHED = "begun.safetensors", "means.safetensors"
_HIDDEN = "hidden"


@dataclass(slots=True)
class Begun:
    """``hidden (rows, dim)`` is behind the layers whose matrices ``means`` has."""

    hidden: Array
    means: dict[str, Array]

    def write(self, folder: Path) -> None:
        """Replace what was there. Raises ``StoreError``."""
        _write(folder / _BEGUN, {_HIDDEN: self.hidden, **self.means})


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Be alone with a folder, which is made. Raises ``StoreError``, also where another one is."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise StoreError(f"cannot write to {folder}: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreError(
                "another command calibrates the same model on the same text: wait for it or end it"
            ) from None
        yield
    finally:
        os.close(descriptor)


def read_begun(folder: Path, columns: Mapping[str, int], hidden: tuple[int, int]) -> Begun | None:
    """What is there of these matrices; None where it is nothing that makes sense."""
    found = _read(folder / _BEGUN, {_HIDDEN: hidden, **_vectors(columns)})
    states = found.pop(_HIDDEN, None)
    layers = {layer_of(name) for name in found}
    whole = {name for name in columns if layer_of(name) in range(len(layers))}
    return Begun(states, found) if states is not None and found.keys() == whole else None


def read_finished(folder: Path, columns: Mapping[str, int]) -> dict[str, Array] | None:
    """The means of all these matrices; None where they are not all there."""
    found = _read(folder / _FINISHED, _vectors(columns))
    return found if found.keys() == columns.keys() else None


def write_finished(folder: Path, means: Mapping[str, Array]) -> None:
    """Keep the means, and nothing else. Raises ``StoreError``."""
    _write(folder / _FINISHED, means)
    try:
        (folder / _BEGUN).unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"cannot clear {folder}: {error.strerror}") from error


def _write(path: Path, arrays: Mapping[str, Array]) -> None:
    tensors = [TensorSource(name, "F32", x.shape, [x]) for name, x in arrays.items()]
    write_tensor_file(path, tensors)


def _vectors(columns: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    return {name: (count,) for name, count in columns.items()}


def _read(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Array]:
    """Some arrays of these shapes, by name.

    Nothing where there is something else: a file saves work, and is needed for nothing else.
    """
    with suppress(StoreError), TensorFile(path) as file:
        places = [file.info(name) for name in file.names]
        if all(p.dtype == "F32" and p.shape == shapes.get(p.name) for p in places):
            found = {p.name: file.read_rows(p.name, 0, p.shape[0]) for p in places}
            if all(np.isfinite(array).all() for array in found.values()):
                return found
    return {}

"""The files of a checkpoint, read with suspicion: bounded, plain names, every error a named one."""

import re
from pathlib import Path
from typing import Any

from pi_cluster.cluster.errors import CheckpointError, StoreError
from pi_cluster.cluster.store.tensor_file import TensorFile
from pi_cluster.transformer.checkpoint_file import is_pointer, only_a_pointer, read_object
from pi_cluster.transformer.errors import ModelError

MAX_JSON_BYTES = 16_000_000
MAX_WEIGHT_FILES = 512  # each stays open, and a process may usually have 1024 files open

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,200}")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object of bounded size; raises ``CheckpointError`` naming the file."""
    try:
        return read_object(path, MAX_JSON_BYTES)
    except ModelError as error:
        raise CheckpointError(str(error)) from error


def open_weights(path: Path) -> TensorFile:
    """Open one file of weights; raises ``CheckpointError`` if it is missing or torn."""
    try:
        if is_pointer(path):
            raise CheckpointError(only_a_pointer(path))
        return TensorFile(path)
    except OSError as error:
        raise CheckpointError(f"cannot open {path}: {error.strerror}. Fetch it") from error
    except StoreError as error:
        raise CheckpointError(f"{error}. Fetch it again") from error


def check_plain_names(names: set[Any], index: Path) -> None:
    """Refuse an index that points outside its folder, or at too many files."""
    for name in names:
        if not isinstance(name, str) or not _PLAIN_NAME.fullmatch(name):
            raise CheckpointError(f"{index} names a file {name!r}, which is no plain file name")
    if len(names) > MAX_WEIGHT_FILES:
        raise CheckpointError(
            f"{index} names {len(names)} files; at most {MAX_WEIGHT_FILES} are read"
        )

"""The small files of a checkpoint, read with suspicion: bounded, and never a pointer of Git LFS."""

import json
from pathlib import Path
from typing import Any

from pi_cluster.transformer.errors import ModelError

MAX_BYTES = 64_000_000  # of the tokenizer.json of a large vocabulary

_LFS_POINTER = b"version https://git-lfs"


def read_bytes(path: Path, most_bytes: int = MAX_BYTES) -> bytes:
    """All that a file holds. Raises ``ModelError``, as all here do, naming the file."""
    try:
        with path.open("rb") as file:
            content = file.read(most_bytes + 1)
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from error
    if len(content) > most_bytes:
        raise ModelError(f"{path} is larger than {most_bytes} bytes")
    if content.startswith(_LFS_POINTER):
        raise ModelError(only_a_pointer(path))
    return content


def read_text(path: Path) -> str:
    """A file's text."""
    try:
        return read_bytes(path).decode()
    except UnicodeDecodeError as error:
        raise ModelError(f"{path} is not UTF-8 text ({error}); fetch it again") from error


def read_object(path: Path, most_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """A file's JSON object."""
    try:
        values = json.loads(read_bytes(path, most_bytes).decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} is not JSON ({error}); fetch it again") from error
    if not isinstance(values, dict):
        raise ModelError(f"{path} holds no JSON object; fetch it again")
    return values


def is_pointer(path: Path) -> bool:
    """Whether a clone without Git LFS has put a few lines in the place of the file.

    Raises ``OSError``.
    """
    with path.open("rb") as file:
        return file.read(len(_LFS_POINTER)) == _LFS_POINTER


def only_a_pointer(path: Path) -> str:
    """What is said of such a file."""
    return f"{path} is only a Git LFS pointer: run `git lfs pull` there"

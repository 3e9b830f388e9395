"""Files that survive a power cut: whole under their name, or not there."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

UNFINISHED = ".unfinished"

_PIECE_BYTES = 1 << 20


@contextlib.contextmanager
def written(path: Path, mode: int = 0o644) -> Iterator[BinaryIO]:
    """A file to write; at the end of the block it is synced and stands under its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + UNFINISHED)
    with unfinished.open("wb") as file:
        os.fchmod(file.fileno(), mode)
        yield file
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    sync_folder(path.parent)


def write(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write a small file."""
    with written(path, mode) as file:
        file.write(data)


def link(path: Path, target: str) -> None:
    """Have ``path`` be a symbolic link to ``target``, replacing what it was in one step."""
    unfinished = path.with_name(path.name + UNFINISHED)
    remove(unfinished)
    unfinished.symlink_to(target)
    unfinished.replace(path)
    sync_folder(path.parent)


def open_own(folder: Path, name: str) -> int:
    """A file to lock, in a folder that this user alone may change; both are made if need be.

    Raises ``PermissionError`` when either is somebody else's or a link: whoever can make or open
    the file beforehand could hold its lock for ever, or have another file opened in its place.
    """
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    parent = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _check_own(parent, folder)
        flags = os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(name, flags, 0o600, dir_fd=parent)
    finally:
        os.close(parent)
    try:
        _check_own(descriptor, folder / name)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _check_own(descriptor: int, path: Path) -> None:
    found = os.fstat(descriptor)
    if found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise PermissionError(
            errno.EPERM, "other users can change it: remove it, nothing is lost", str(path)
        )


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a file, a link or a folder with all that is in it, if it is there."""
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(kind):
        shutil.rmtree(path)
    else:
        path.unlink()


def remove_if_empty(folder: Path) -> None:
    """Remove a folder in which nothing is left."""
    with contextlib.suppress(OSError):
        folder.rmdir()


def read(path: Path, at_most: int) -> str | None:
    """The text of a small file, or None when there is none or it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(at_most).decode("utf-8", "replace")
    except OSError:
        return None


def sha256_of(path: Path) -> str:
    """The digest of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for piece in iter(lambda: file.read(_PIECE_BYTES), b""):
            digest.update(piece)
    return digest.hexdigest()

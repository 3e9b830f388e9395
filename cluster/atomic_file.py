"""A file that appears under its name only when all of it is safely on disk."""

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from pi_cluster.cluster.errors import StoreError

PARTIAL_SUFFIX = ".partial"
_WRITING = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC


class AtomicFile:
    """Writes ``path`` under a temporary name beside it; a clean exit syncs and renames.

    Whatever else happens, a reader finds the old file, or none, or the whole new one. Every
    failure of the system (a full disk, no permission) becomes a ``StoreError`` that names the
    file. ``size_bytes`` and ``sha256`` describe what has been written so far. A ``private`` file
    can be read by its owner alone, from its first byte on.
    """

    def __init__(self, path: Path, private: bool = False) -> None:
        self.path = path
        self.size_bytes = 0
        self._hash = hashlib.sha256()
        # One fixed name: a run that was killed leaves at most this, and the next overwrites it.
        self._partial = path.with_name(path.name + PARTIAL_SUFFIX)
        try:
            if private:
                self._partial.unlink(missing_ok=True)  # its mode would stay
            descriptor = os.open(self._partial, _WRITING, 0o600 if private else 0o666)
            self._file = os.fdopen(descriptor, "wb", buffering=0)
        except OSError as error:
            raise self._failure(error) from error

    @property
    def sha256(self) -> str:
        """The SHA-256 of the bytes written so far, in hexadecimal."""
        return self._hash.hexdigest()

    def write(self, data: bytes | memoryview) -> None:
        """Append ``data``, a view of single bytes; raises ``StoreError`` if the disk fails."""
        rest = memoryview(data)
        self._hash.update(rest)
        self.size_bytes += len(rest)
        try:
            while rest:
                rest = rest[self._file.write(rest) or 0 :]
        except OSError as error:
            raise self._failure(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *failure: object) -> None:
        try:
            if kind is None:
                os.fsync(self._file.fileno())
                self._file.close()
                self._partial.replace(self.path)
                sync_folder(self.path.parent)
        except OSError as failure:
            raise self._failure(failure) from failure
        finally:
            self._file.close()
            self._partial.unlink(missing_ok=True)

    def _failure(self, error: OSError) -> StoreError:
        return StoreError(
            f"cannot write {self.path}: {error.strerror or error}. Make room or name a folder "
            "that can be written, then run the same command again"
        )


def write_bytes(path: Path, data: bytes, private: bool = False) -> None:
    """Write a small file at once; raises ``StoreError`` as ``AtomicFile`` does."""
    with AtomicFile(path, private) as file:
        file.write(data)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder's lock: one process and thread at a time reads, changes and writes."""
    with (folder / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` survive a power cut, as renaming alone does not."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

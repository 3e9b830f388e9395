"""Fetching the files of a model into a folder: it goes on where it broke off, and checks all."""

import hashlib
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pi_cluster.cluster.atomic_file import PARTIAL_SUFFIX, sync_folder
from pi_cluster.cluster.errors import HubError, HubUnreachable
from pi_cluster.cluster.store.store import Progress
from pi_cluster.deploy.models.model_name import ModelName
from pi_cluster.shard_tool.sources.wanted_files import ListedFile

if TYPE_CHECKING:
    from pi_cluster.deploy.models.hub import Hub

_TRIES = 5  # in a row, without a byte
_READ_BYTES = 1 << 20
_SHA256_DIGITS = 64


class Fetching:
    """Fetches the files of one commit into ``folder``, telling how far all of them have come."""

    def __init__(
        self, hub: "Hub", name: ModelName, commit: str, folder: Path, wait_s: float = 1.0
    ) -> None:
        """``wait_s``: before a hub that broke off is asked again; then longer each time."""
        self._hub, self._name, self._commit = hub, name, commit
        self._folder, self._wait_s = folder, wait_s

    def fetch(self, files: Sequence[ListedFile], progress: Progress | None = None) -> None:
        """Have all of them in the folder, whole and as listed.

        Raises ``HubError`` where the hub gives others, ``HubUnreachable`` when it stays away, and
        ``OSError`` of the disk. What has come stays for the next time.
        """
        total = sum(file.size_bytes for file in files)
        done = 0
        for file in files:
            if not is_there(self._folder, file):
                self._fetch(file, progress, done, total)
            done += file.size_bytes
            if progress:
                progress(done, total, file.path)

    def part(self, file: ListedFile, start: int, stop: int) -> bytes:
        """Bytes ``start`` up to but not including ``stop``, which are few: kept in memory alone.

        What was fetched before is not asked for again. Raises ``HubError`` as ``fetch`` does.
        """
        if start >= stop:
            return b""
        for path in (self._folder / file.path, _partial(self._folder, file)):
            if _size(path) >= stop:
                with path.open("rb") as reading:
                    reading.seek(start)
                    return reading.read(stop - start)
        for tried in range(1, _TRIES + 1):
            try:
                return self._part(file, start, stop)
            except HubUnreachable:
                if tried == _TRIES:
                    raise
                time.sleep(self._wait_s * tried)
        raise AssertionError("the last try returns or raises")

    def _part(self, file: ListedFile, start: int, stop: int) -> bytes:
        part = bytearray()
        with self._hub.blocks(self._name, self._commit, file, start, stop) as (begin, blocks):
            for block in blocks:
                part += block[max(0, start - begin) :]
                begin += len(block)
                if begin >= stop:
                    return bytes(part[: stop - start])
        raise self._broke_off(file, begin)

    def _broke_off(self, file: ListedFile, come: int) -> HubUnreachable:
        return HubUnreachable(
            f"the hub broke off {file.path} of {self._name} after {come} of {file.size_bytes} bytes"
        )

    def _fetch(self, file: ListedFile, progress: Progress | None, done: int, total: int) -> None:
        path = self._folder / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = _partial(self._folder, file)
        partial.touch()
        tries = 0
        while (before := _size(partial)) != file.size_bytes:
            try:
                self._append(file, partial, progress, done, total)
            except HubUnreachable as error:
                tries = tries + 1 if _size(partial) <= before else 1
                if tries >= _TRIES:
                    kept = "What has come is kept: the same command goes on there"
                    raise HubUnreachable(f"{error}. {kept}") from None
                time.sleep(self._wait_s * tries)
        if _digest(partial, file) != file.digest:
            partial.unlink()
            raise HubError(
                f"{file.path} of {self._name} arrived with other content than the hub lists: "
                "run the same command again"
            )
        partial.replace(path)
        sync_folder(path.parent)

    def _append(
        self,
        file: ListedFile,
        partial: Path,
        progress: Progress | None,
        done: int,
        total: int,
    ) -> None:
        start = _size(partial)
        if start > file.size_bytes:
            start = 0
        with (
            self._hub.blocks(self._name, self._commit, file, start) as (begin, blocks),
            partial.open("r+b") as writing,
        ):
            writing.truncate(begin)
            writing.seek(begin)
            for block in blocks:
                writing.write(block)
                begin += len(block)
                if progress:
                    progress(done + begin, total, file.path)
            writing.flush()
            os.fsync(writing.fileno())
        if begin < file.size_bytes:
            raise self._broke_off(file, begin)


def is_there(folder: Path, file: ListedFile) -> bool:
    """Whether a file was fetched: it gets its name only once it is whole and checked."""
    path = folder / file.path
    return path.is_file() and _size(path) == file.size_bytes


def lacking_bytes(folder: Path, files: Sequence[ListedFile]) -> int:
    """What is still to come of them."""
    return sum(
        file.size_bytes - min(file.size_bytes, _size(_partial(folder, file)))
        for file in files
        if not is_there(folder, file)
    )


def _partial(folder: Path, file: ListedFile) -> Path:
    path = folder / file.path
    return path.with_name(path.name + PARTIAL_SUFFIX)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _digest(path: Path, file: ListedFile) -> str:
    """What a hub would list of the file's content: git's id of a small one has a head."""
    if len(file.digest) == _SHA256_DIGITS:
        digest = hashlib.sha256()
    else:
        digest = hashlib.sha1(f"blob {file.size_bytes}\0".encode(), usedforsecurity=False)
    with path.open("rb", buffering=0) as reading:
        while block := reading.read(_READ_BYTES):
            digest.update(block)
    return digest.hexdigest()

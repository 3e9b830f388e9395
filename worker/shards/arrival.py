"""One shard on its way to this node's disk: written, hashed and synced side by side."""

import hashlib
import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Self

from pi_cluster.cluster.atomic_file import sync_folder
from pi_cluster.cluster.errors import ShardChanged, StoreError

_SYNC_BYTES = 32 << 20  # a power cut costs at most this and what the disk still syncs before it
_HASH_BLOCK_BYTES = 1 << 20


class Arrival:
    """A partial file that grows from ``offset_bytes`` on; what it had beyond that is forgotten.

    The caller's thread writes. Another one follows it through the file and hashes, beginning at
    the first byte, so going on with an old partial file is nothing special. A third one syncs.
    The file stays whatever happens; who owns it decides what becomes of it.
    """

    def __init__(self, path: Path, size_bytes: int, offset_bytes: int = 0) -> None:
        """Nothing is touched before ``with``."""
        self.size_bytes = size_bytes
        self.received_bytes = offset_bytes
        self._path = path
        self._grown = threading.Condition()
        self._has_ended = False  # no more comes
        self._is_abandoned = False  # and nobody wants the hash
        self._synced_bytes = offset_bytes
        self._told_bytes = offset_bytes  # to whom hashes, who is woken for whole blocks only
        self._sync: Future[None] | None = None

    def __enter__(self) -> Self:
        """Open the file. Raises ``StoreError`` when the disk does not let it."""
        try:
            self._file = self._path.open("r+b" if self._path.exists() else "w+b", buffering=0)
            self._file.truncate(self.received_bytes)
            self._file.seek(self.received_bytes)
            sync_folder(self._path.parent)
        except OSError as error:
            raise self._failure(error) from error
        self._threads = ThreadPoolExecutor(2, "arrival")
        self._digest = self._threads.submit(self._follow)
        return self

    def __exit__(self, *failure: object) -> None:
        with self._grown:
            self._has_ended = self._is_abandoned = True
            self._grown.notify()
        self._threads.shutdown()
        self._file.close()

    def write(self, part: bytes) -> None:
        """Append a part. Raises ``ShardChanged`` when that is too much, else ``StoreError``."""
        if self.received_bytes + len(part) > self.size_bytes:
            raise ShardChanged(f"a shard of {self.size_bytes} bytes came with more than that")
        rest = memoryview(part)
        try:
            while rest:
                rest = rest[self._file.write(rest) or 0 :]
            with self._grown:
                self.received_bytes += len(part)
                if self.received_bytes - self._told_bytes >= _HASH_BLOCK_BYTES:
                    self._told_bytes = self.received_bytes
                    self._grown.notify()
            if self.received_bytes - self._synced_bytes >= _SYNC_BYTES:
                self._sync_behind()
        except OSError as error:
            raise self._failure(error) from error

    def finish(self) -> str:
        """Have all of it on the disk; returns the SHA-256 of what came, in hexadecimal."""
        with self._grown:
            self._has_ended = True
            self._grown.notify()
        try:
            digest = self._digest.result()
            if self._sync:
                self._sync.result()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._failure(error) from error
        return digest

    def _sync_behind(self) -> None:
        """Sync what is written so far while more comes, once the sync before has ended."""
        if self._sync:
            self._sync.result()
        self._synced_bytes = self.received_bytes
        self._sync = self._threads.submit(os.fdatasync, self._file.fileno())

    def _follow(self) -> str:
        digest, done = hashlib.sha256(), 0
        block = memoryview(bytearray(_HASH_BLOCK_BYTES))
        with self._path.open("rb", buffering=0) as file:
            while not self._is_abandoned:
                if done == self._wait_beyond(done):
                    return digest.hexdigest()
                count = file.readinto(block) or 0
                if not count:
                    raise OSError("it became shorter while it was written")
                digest.update(block[:count])
                done += count
        return ""

    def _wait_beyond(self, done: int) -> int:
        """Wait until a block beyond ``done`` is there, or no more come; returns how much is."""
        with self._grown:
            self._grown.wait_for(lambda: self._told_bytes > done or self._has_ended)
            return self.received_bytes

    def _failure(self, error: OSError) -> StoreError:
        return StoreError(
            f"cannot write {self._path}: {error.strerror or error}. Make room on this node, then "
            "run the same command again"
        )

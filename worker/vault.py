"""The shard files on a node's disk, each kept under its SHA-256."""

import logging
import re
import threading
from collections.abc import Collection, Iterable
from pathlib import Path

from cluster.atomic_file import PARTIAL_SUFFIX, AtomicFile
from cluster.errors import NodeError, StoreError
from cluster.manifest import ShardFile
from worker.machine import free_disk_bytes

log = logging.getLogger(__name__)

_DIGEST = re.compile(r"[0-9a-f]{64}")
_DISK_MARGIN_BYTES = 64 << 20  # a full system disk stops more than this worker


class ShardVault:
    """A folder of verified shards, named ``<sha256>.safetensors``.

    A file stands under its name only after all of it has been hashed, so holding one means
    holding the right bytes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writing = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob("*" + PARTIAL_SUFFIX):
            leftover.unlink()

    @property
    def free_bytes(self) -> int:
        """Bytes that may still be received."""
        return max(0, free_disk_bytes(self._folder) - _DISK_MARGIN_BYTES)

    def held(self, digests: Iterable[str]) -> list[str]:
        """Those of the digests whose files are here."""
        return [digest for digest in digests if self._path(digest).exists()]

    def path_of(self, file: ShardFile) -> Path:
        """Where a shard lies. Raises ``StoreError`` when it is missing or has lost its size."""
        path = self._path(file.sha256)
        size = path.stat().st_size if path.exists() else None
        if size == file.size_bytes:
            return path
        path.unlink(missing_ok=True)
        state = "is not on this node" if size is None else f"has {size} bytes and was removed"
        raise StoreError(f"{file.name} {state}: run `pi-cluster up` again")

    def receive(self, digest: str, size_bytes: int, parts: Iterable[bytes]) -> None:
        """Write one shard as it arrives; it is kept only if size and digest are right."""
        path = self._path(digest)
        if size_bytes > self.free_bytes:
            raise StoreError(
                f"the disk of this node has room for {self.free_bytes} bytes, and a shard has "
                f"{size_bytes}: free some space below {self._folder}"
            )
        with self._writing, AtomicFile(path) as file:
            for part in parts:
                if file.size_bytes + len(part) > size_bytes:
                    raise StoreError(f"a shard of {size_bytes} bytes came with more than that")
                file.write(part)
            if file.size_bytes != size_bytes or file.sha256 != digest:
                raise StoreError(
                    "a shard arrived changed: verify the store with `pi-cluster verify STORE`"
                )

    def prune(self, keep: Collection[str]) -> None:
        """Remove the shards of other stores, now that another one is served."""
        for path in self._folder.glob("*.safetensors"):
            if path.stem not in keep:
                path.unlink()
                log.info("removed shard %s of another store", path.stem[:12])

    def _path(self, digest: str) -> Path:
        if not _DIGEST.fullmatch(digest):
            raise NodeError("a shard is named by 64 hexadecimal digits")
        return self._folder / f"{digest}.safetensors"

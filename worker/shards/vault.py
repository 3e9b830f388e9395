"""The shard files on a node's disk, each kept under its SHA-256."""

import contextlib
import logging
import os
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from pi_cluster.cluster.atomic_file import sync_folder
from pi_cluster.cluster.errors import NodeError, ShardChanged, StoreError
from pi_cluster.cluster.store.manifest import MAX_FILE_BYTES, ShardFile
from pi_cluster.cluster.system_failure import system_failure
from pi_cluster.worker.machine import disk
from pi_cluster.worker.shards.arrival import Arrival
from pi_cluster.worker.shards.damaged import DamagedShard, DamagedShards
from pi_cluster.worker.shards.disk_room import DiskRoom
from pi_cluster.worker.shards.shard_folder import ShardFolder, size_of, written_s

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A shard to be sent: its size, and its bytes from the offset that was asked for."""

    size_bytes: int
    parts: Iterator[bytes]


class ShardVault:
    """A folder of verified shards, and of the beginnings of others.

    A file stands under its name only after all of it has been hashed; its modification time is
    when it was found right last, then or later (``stage/verification.py``). One that is found
    damaged is set aside and not held any more. Until it is whole, a shard is a partial file,
    which outlives broken connections, restarts and power cuts; whether its bytes are right is seen
    at its end. Which files may be removed, and when, is the business of `DiskRoom`, whose lock also
    keeps apart those who find the same damage.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = ShardFolder(folder)
        self.damaged = DamagedShards(folder)
        self.compared: set[str] = set()
        """Digests of the shards that were found right since this process has begun."""
        self._room = DiskRoom(self._folder, self.damaged)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._folder.remove_foreign_partials()
            self._room.drop_partials()
        except OSError as error:
            # What is there can still be read, and whoever wants to write here is told.
            log.warning("%s cannot be changed: %s", folder, system_failure(error))

    @property
    def disk_problem(self) -> str:
        """What keeps this node from writing shards; empty if nothing does."""
        return disk.problem(self._folder.path)

    @property
    def free_bytes(self) -> int:
        """Bytes that may still be received, those of removable files among them."""
        return self._room.free_bytes

    def held(self, digests: Iterable[str]) -> list[str]:
        """Those of the digests whose files are here."""
        return [d for d in digests if self._folder.shard(d).exists() and d not in self.damaged]

    def find(self, digests: Collection[str]) -> tuple[list[str], dict[str, int]]:
        """Those that are here, and how many bytes there are of others.

        Until the next question, these files are not removed to make room.
        """
        held = self.held(digests)
        partial = {digest: size_of(self._folder.partial(digest)) or 0 for digest in digests}
        self._room.want(digests)
        return held, {digest: size for digest, size in partial.items() if size}

    def path_of(self, file: ShardFile) -> Path:
        """Where a shard lies. Raises ``StoreError`` when it is missing or known to be damaged."""
        path = self._folder.shard(file.sha256)
        self.check_sound([file])
        size = size_of(path)
        if size == file.size_bytes:
            return path
        path.unlink(missing_ok=True)
        state = "is not on this node" if size is None else f"has {size} bytes and was removed"
        raise StoreError(f"{file.name} {state}: the next `up` hands it out anew")

    def check_sound(self, files: Iterable[ShardFile]) -> None:
        """Raise ``StoreError`` when one of these shards is known to be damaged."""
        for file in files:
            if file.sha256 in self.damaged:
                problem = self.damaged[file.sha256].problem
                raise StoreError(
                    f"{file.name} is damaged, it {problem}: the next `up` sends it again"
                )

    def whole(self) -> dict[str, int]:
        """The shards that are here, with their sizes in bytes."""
        held = self.held(self._folder.digests())
        return {digest: size_of(self._folder.shard(digest)) or 0 for digest in held}

    def open(self, digest: str, past_cache: bool = False) -> FileIO:
        """A shard's file, to be read; raises ``OSError``.

        Past the page cache it comes from the disk itself, into buffers and from offsets that are
        aligned; ``EINVAL`` tells that the file system knows no such thing.
        """
        flags = os.O_RDONLY | (os.O_DIRECT if past_cache else 0)
        return FileIO(os.open(self._folder.shard(digest), flags))

    def found_right(self, digest: str) -> None:
        """All of a shard has been read again, and is what was sent."""
        self.compared.add(digest)
        with contextlib.suppress(OSError):  # on a disk that takes no changes
            os.utime(self._folder.shard(digest))

    def verified_ago_s(self, digests: Iterable[str]) -> int | None:
        """Since when all of these have been found right, in seconds; None where one is missing."""
        since = min((written_s(self._folder.shard(digest)) for digest in digests), default=0.0)
        return max(0, int(time.time() - since)) if since else None

    def inode_of(self, digest: str) -> int | None:
        """Which file holds a shard now; None where none does, or its folder cannot be read."""
        with contextlib.suppress(OSError):
            return self._folder.shard(digest).stat().st_ino
        return None

    def set_aside(self, damaged: DamagedShard, inode: int | None) -> bool:
        """Hold a shard no more; returns whether it was the file ``inode`` that was here.

        None stands for one that is missing. Another file may have come in the meantime.
        """
        with self._room.changed:
            if damaged.digest in self.damaged or self.inode_of(damaged.digest) != inode:
                return False
            self.damaged.add(damaged, self._folder.shard(damaged.digest))
            self.compared.discard(damaged.digest)
            return True

    def receive(
        self, digest: str, size_bytes: int, offset_bytes: int, parts: Iterable[bytes]
    ) -> None:
        """Write one shard, or the rest of one, as it arrives; raises as :meth:`receiving`."""
        with self.receiving(digest, size_bytes, offset_bytes) as arrival:
            if arrival:
                for part in parts:
                    arrival.write(part)

    @contextlib.contextmanager
    def receiving(
        self, digest: str, size_bytes: int, offset_bytes: int | None = 0
    ) -> Iterator[Arrival | None]:
        """Take one shard from ``offset_bytes`` on, which must not be beyond what is here of it.

        Without an offset that is where the partial file ends. The block writes the parts; at its
        end the shard is kept if size and digest are right. If they are not, nothing of it is
        kept; if the block fails, what has come. Yields None when the shard is here already.

        Raises ``NodeError`` while another sender brings the same shard, ``StoreError`` when the
        disk has no room, ``ShardChanged`` when other bytes arrive.
        """
        path, partial = self._folder.shard(digest), self._folder.partial(digest)
        if not 0 <= size_bytes <= MAX_FILE_BYTES:
            raise NodeError(f"a shard of {size_bytes} bytes is none")
        with self._room.turn(digest):
            if self.held([digest]):
                yield None
                return
            there = size_of(partial) or 0
            start = there if offset_bytes is None else offset_bytes
            if not start <= min(there, size_bytes):
                if there > size_bytes:
                    partial.unlink()
                raise NodeError(
                    f"a shard of {size_bytes} bytes was to go on at byte {start}, and {there} "
                    "are here: send it from its beginning"
                )
            try:
                with self._room.begin(digest, size_bytes, start) as arrival:
                    yield arrival
                    _check(arrival, digest)
            except ShardChanged:
                partial.unlink()
                raise
            partial.replace(path)
            sync_folder(self._folder.path)
            self.damaged.forget(digest)
            self.compared.add(digest)

    @contextlib.contextmanager
    def reading(self, digest: str, offset_bytes: int, part_bytes: int) -> Iterator[Outgoing]:
        """A shard that is here, to be sent. Raises ``NodeError`` when it is not."""
        path = self._folder.shard(digest)
        if digest in self.damaged:
            raise NodeError(f"shard {digest[:12]} is damaged on this node")
        try:
            with self._room.reading(digest), path.open("rb", buffering=0) as file:
                size_bytes = size_of(path) or 0
                if offset_bytes > size_bytes:
                    raise NodeError(f"a shard of {size_bytes} bytes has no byte {offset_bytes}")
                file.seek(offset_bytes)
                yield Outgoing(size_bytes, iter(lambda: file.read(part_bytes), b""))
        except FileNotFoundError:
            raise NodeError(f"shard {digest[:12]} is not on this node") from None

    def serve(self, digests: Iterable[str], standby: Iterable[str] = ()) -> None:
        """Remember which shards the loaded stage maps: they are not removed to make room.

        Those that stand by for the layers of other nodes are the last that are.
        """
        self._room.serve(digests, standby)

    def prune(self, keep: Collection[str]) -> None:
        """Remove the shards of other stores, now that another one is served."""
        self._room.prune(keep)


def _check(arrival: Arrival, digest: str) -> None:
    if arrival.received_bytes < arrival.size_bytes:
        # To gRPC a lost sender may look like one that has nothing more to send.
        raise NodeError(
            f"a shard of {arrival.size_bytes} bytes broke off after {arrival.received_bytes}"
        )
    if arrival.finish() != digest:
        raise ShardChanged(
            "a shard arrived changed: verify the store with `pi-cluster verify STORE`"
        )

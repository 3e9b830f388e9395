"""The shard files on a node's disk, each kept under its SHA-256."""

import contextlib
import logging
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from pi_cluster.cluster.atomic_file import PARTIAL_SUFFIX, sync_folder
from pi_cluster.cluster.errors import NodeError, ShardChanged, StoreError
from pi_cluster.cluster.store.manifest import MAX_FILE_BYTES, ShardFile
from pi_cluster.cluster.system_failure import system_failure
from pi_cluster.worker.machine import disk
from pi_cluster.worker.machine.offer import free_disk_bytes
from pi_cluster.worker.shards.arrival import Arrival
from pi_cluster.worker.shards.damaged import DamagedShard, DamagedShards

log = logging.getLogger(__name__)

_DIGEST = re.compile(r"[0-9a-f]{64}")
_SHARD_SUFFIX = ".safetensors"
_DISK_MARGIN_BYTES = 64 << 20  # a full system disk stops more than this worker
_MOST_PARTIALS = 16
_PARTIAL_DAYS = 7  # nobody has come back for the rest
_TURN_S = 30.0  # a sender that is lost is noticed sooner than that


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A shard to be sent: its size, and its bytes from the offset that was asked for."""

    size_bytes: int
    parts: Iterator[bytes]


def shards_folder(data_dir: Path) -> Path:
    """Where a worker keeps its shards."""
    return data_dir / "shards"


class ShardVault:
    """A folder of verified shards, ``<sha256>.safetensors``, and of the beginnings of others.

    A file stands under its name only after all of it has been hashed; its modification time is
    when it was found right last, then or later (``stage/verification.py``). One that is found
    damaged is set aside and not held any more. Until it is whole, a shard is ``<sha256>.partial``,
    which outlives broken connections, restarts and power cuts; whether its bytes are right is seen
    at its end.

    When the disk is short, what was set aside is removed, and then what neither the loaded stage
    nor the latest question (:meth:`find`) names, oldest first.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._changed = threading.Condition()  # guards what follows, for moments only
        self._arriving: dict[str, Arrival | None] = {}
        self._reading: Counter[str] = Counter()
        self._serving: frozenset[str] = frozenset()
        self._wanted: frozenset[str] = frozenset()
        self.damaged = DamagedShards(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._clean_up()
        except OSError as error:
            # What is there can still be read, and whoever wants to write here is told.
            log.warning("%s cannot be changed: %s", folder, system_failure(error))

    def _clean_up(self) -> None:
        for path in self._folder.glob("*" + PARTIAL_SUFFIX):
            if not _DIGEST.fullmatch(path.stem):
                path.unlink()
        self._drop_partials()

    @property
    def disk_problem(self) -> str:
        """What keeps this node from writing shards; empty if nothing does."""
        return disk.problem(self._folder)

    @property
    def free_bytes(self) -> int:
        """Bytes that may still be received, those of removable files among them."""
        with self._changed:
            removable = sum(_size(path) or 0 for path in self._removable())
            return max(0, self._room() + removable)

    def held(self, digests: Iterable[str]) -> list[str]:
        """Those of the digests whose files are here."""
        return [d for d in digests if self._path(d).exists() and d not in self.damaged]

    def find(self, digests: Collection[str]) -> tuple[list[str], dict[str, int]]:
        """Those that are here, and how many bytes there are of others.

        Until the next question, these files are not removed to make room.
        """
        held = self.held(digests)
        partial = {digest: _size(self._partial(digest)) or 0 for digest in digests}
        with self._changed:
            self._wanted = frozenset(digests)
        return held, {digest: size for digest, size in partial.items() if size}

    def path_of(self, file: ShardFile) -> Path:
        """Where a shard lies. Raises ``StoreError`` when it is missing or known to be damaged."""
        path = self._path(file.sha256)
        self.check_sound([file])
        size = _size(path)
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
        paths = [path for path in self._files() if path.suffix == _SHARD_SUFFIX]
        held = self.held(path.stem for path in paths if _DIGEST.fullmatch(path.stem))
        return {digest: _size(self._path(digest)) or 0 for digest in held}

    def open(self, digest: str, past_cache: bool = False) -> FileIO:
        """A shard's file, to be read; raises ``OSError``.

        Past the page cache it comes from the disk itself, into buffers and from offsets that are
        aligned; ``EINVAL`` tells that the file system knows no such thing.
        """
        flags = os.O_RDONLY | (os.O_DIRECT if past_cache else 0)
        return FileIO(os.open(self._path(digest), flags))

    def found_right(self, digest: str) -> None:
        """All of a shard has been read again, and is what was sent."""
        with contextlib.suppress(OSError):  # on a disk that takes no changes
            os.utime(self._path(digest))

    def verified_ago_s(self, digests: Iterable[str]) -> int | None:
        """Since when all of these have been found right, in seconds; None where one is missing."""
        since = min((_written_s(self._path(digest)) for digest in digests), default=0.0)
        return max(0, int(time.time() - since)) if since else None

    def inode_of(self, digest: str) -> int | None:
        """Which file holds a shard now; None where none does, or its folder cannot be read."""
        with contextlib.suppress(OSError):
            return self._path(digest).stat().st_ino
        return None

    def set_aside(self, damaged: DamagedShard, inode: int | None) -> bool:
        """Hold a shard no more; returns whether it was the file ``inode`` that was here.

        None stands for one that is missing. Another file may have come in the meantime.
        """
        with self._changed:
            if damaged.digest in self.damaged or self.inode_of(damaged.digest) != inode:
                return False
            self.damaged.add(damaged, self._path(damaged.digest))
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
        path, partial = self._path(digest), self._partial(digest)
        if not 0 <= size_bytes <= MAX_FILE_BYTES:
            raise NodeError(f"a shard of {size_bytes} bytes is none")
        with self._turn(digest):
            if self.held([digest]):
                yield None
                return
            there = _size(partial) or 0
            start = there if offset_bytes is None else offset_bytes
            if not start <= min(there, size_bytes):
                if there > size_bytes:
                    partial.unlink()
                raise NodeError(
                    f"a shard of {size_bytes} bytes was to go on at byte {start}, and {there} "
                    "are here: send it from its beginning"
                )
            try:
                with self._begin(digest, size_bytes, start) as arrival:
                    yield arrival
                    self._check(arrival, digest)
            except ShardChanged:
                partial.unlink()
                raise
            partial.replace(path)
            sync_folder(self._folder)
            self.damaged.forget(digest)

    @contextlib.contextmanager
    def reading(self, digest: str, offset_bytes: int, part_bytes: int) -> Iterator[Outgoing]:
        """A shard that is here, to be sent. Raises ``NodeError`` when it is not."""
        path = self._path(digest)
        if digest in self.damaged:
            raise NodeError(f"shard {digest[:12]} is damaged on this node")
        with self._changed:
            self._reading[digest] += 1
        try:
            with path.open("rb", buffering=0) as file:
                size_bytes = _size(path) or 0
                if offset_bytes > size_bytes:
                    raise NodeError(f"a shard of {size_bytes} bytes has no byte {offset_bytes}")
                file.seek(offset_bytes)
                yield Outgoing(size_bytes, iter(lambda: file.read(part_bytes), b""))
        except FileNotFoundError:
            raise NodeError(f"shard {digest[:12]} is not on this node") from None
        finally:
            with self._changed:
                self._reading -= Counter([digest])

    def serve(self, digests: Iterable[str]) -> None:
        """Remember which shards the loaded stage maps: they are not removed to make room."""
        with self._changed:
            self._serving = frozenset(digests)

    def prune(self, keep: Collection[str]) -> None:
        """Remove the shards of other stores, now that another one is served."""
        with self._changed:
            for path in self._files():
                if path.stem not in keep and path.stem not in self._arriving:
                    path.unlink(missing_ok=True)
                    log.info("removed shard %s of another store", path.stem[:12])
            for one in self.damaged:
                if one.digest not in keep:
                    self.damaged.forget(one.digest)

    @contextlib.contextmanager
    def _turn(self, digest: str) -> Iterator[None]:
        """Be the only one who writes this shard; wait a little for one who may be lost."""
        with self._changed:
            if not self._changed.wait_for(lambda: digest not in self._arriving, _TURN_S):
                raise NodeError(
                    f"another sender brings this node the shard {digest[:12]}: wait for it to "
                    "finish, or end it there"
                )
            self._arriving[digest] = None
        try:
            yield
        finally:
            with self._changed:
                del self._arriving[digest]
                self._changed.notify_all()

    def _begin(self, digest: str, size_bytes: int, start: int) -> Arrival:
        self._drop_partials()
        arrival = Arrival(self._partial(digest), size_bytes, start)
        with self._changed:
            self._make_room(size_bytes - start, "the rest of a shard" if start else "a shard")
            self._arriving[digest] = arrival
        return arrival

    def _check(self, arrival: Arrival, digest: str) -> None:
        if arrival.received_bytes < arrival.size_bytes:
            # To gRPC a lost sender may look like one that has nothing more to send.
            raise NodeError(
                f"a shard of {arrival.size_bytes} bytes broke off after {arrival.received_bytes}"
            )
        if arrival.finish() != digest:
            raise ShardChanged(
                "a shard arrived changed: verify the store with `pi-cluster verify STORE`"
            )

    def _make_room(self, needed_bytes: int, what: str) -> None:
        removable = iter(self._removable())
        while needed_bytes > (room := self._room()):
            path = next(removable, None)
            if path is None:
                raise StoreError(
                    f"the disk of this node has room for {max(0, room)} bytes, and {what} has "
                    f"{needed_bytes}: free some space below {self._folder}"
                )
            path.unlink(missing_ok=True)
            log.info("removed %s to make room", path.name)

    def _room(self) -> int:
        """Free bytes, without what the shards that arrive now still need; may be negative."""
        arrivals = [arrival for arrival in self._arriving.values() if arrival]
        promised = sum(arrival.size_bytes - arrival.received_bytes for arrival in arrivals)
        return free_disk_bytes(self._folder) - _DISK_MARGIN_BYTES - promised

    def _removable(self) -> list[Path]:
        """What may go to make room, oldest first."""
        needed = self._serving | self._wanted | self._arriving.keys() | self._reading.keys()
        others = sorted((p for p in self._files() if p.stem not in needed), key=_written_s)
        return [*self.damaged.files(), *others]

    def _drop_partials(self) -> None:
        """Remove beginnings that are too old or too many; who wants one at this moment keeps it."""
        with self._changed:
            idle = [p for p in self._files() if p.suffix == PARTIAL_SUFFIX]
            idle = sorted((p for p in idle if p.stem not in self._arriving), key=_written_s)
            surplus = max(0, len(idle) - _MOST_PARTIALS)
            oldest = time.time() - _PARTIAL_DAYS * 86_400
            for number, path in enumerate(idle):
                if number < surplus or _written_s(path) < oldest:
                    path.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        suffixes = (_SHARD_SUFFIX, PARTIAL_SUFFIX)
        return [path for path in self._folder.iterdir() if path.suffix in suffixes]

    def _path(self, digest: str) -> Path:
        if not _DIGEST.fullmatch(digest):
            raise NodeError("a shard is named by 64 hexadecimal digits")
        return self._folder / (digest + _SHARD_SUFFIX)

    def _partial(self, digest: str) -> Path:
        return self._path(digest).with_suffix(PARTIAL_SUFFIX)


def _size(path: Path) -> int | None:
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_size
    return None


def _written_s(path: Path) -> float:
    """When it was last written, in seconds since 1970; 0 where nothing tells."""
    with contextlib.suppress(OSError):
        return path.stat().st_mtime
    return 0.0

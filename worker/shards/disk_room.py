"""Who needs which shard file at this moment, and which may go when the disk is short."""

import contextlib
import logging
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from pi_cluster.cluster.errors import NodeError, StoreError
from pi_cluster.worker.machine.offer import free_disk_bytes
from pi_cluster.worker.shards.arrival import Arrival
from pi_cluster.worker.shards.damaged import DamagedShards
from pi_cluster.worker.shards.shard_folder import ShardFolder, size_of, written_s

log = logging.getLogger(__name__)

_DISK_MARGIN_BYTES = 64 << 20  # a full system disk stops more than this worker
_MOST_PARTIALS = 16
_PARTIAL_DAYS = 7  # nobody has come back for the rest
_TURN_S = 30.0  # a sender that is lost is noticed sooner than that


class DiskRoom:
    """Makes room for what arrives, and never more than the disk has.

    A file stays while its shard arrives, is read, is mapped by the loaded stage (:meth:`serve`),
    or was named by the latest question (:meth:`want`). When the disk is short, what was set aside
    as damaged is removed, and then the others, oldest first; last what stands by for the layers of
    other nodes. What all that arrive still need is reserved, and 64 MiB stay free.

    ``changed`` guards all of this, for moments only, and tells those who wait for a shard's turn.
    """

    def __init__(self, folder: ShardFolder, damaged: DamagedShards) -> None:
        self.changed = threading.Condition()
        self._folder = folder
        self._damaged = damaged
        self._arriving: dict[str, Arrival | None] = {}
        self._reading: Counter[str] = Counter()
        self._serving: frozenset[str] = frozenset()
        self._standby: frozenset[str] = frozenset()
        self._wanted: frozenset[str] = frozenset()

    @property
    def free_bytes(self) -> int:
        """Bytes that may still be received, those of removable files among them."""
        with self.changed:
            removable = sum(size_of(path) or 0 for path in self.removable())
            return max(0, self._bytes() + removable)

    def serve(self, digests: Iterable[str], standby: Iterable[str] = ()) -> None:
        """Keep what the loaded stage maps, and nothing for the one before.

        What stands by is kept for as long as anything else could go.
        """
        with self.changed:
            self._serving, self._standby = frozenset(digests), frozenset(standby)

    def want(self, digests: Iterable[str]) -> None:
        """Keep what somebody has asked after, and nothing for whoever asked before."""
        with self.changed:
            self._wanted = frozenset(digests)

    @contextlib.contextmanager
    def reading(self, digest: str) -> Iterator[None]:
        """Keep a shard while it is sent."""
        with self.changed:
            self._reading[digest] += 1
        try:
            yield
        finally:
            with self.changed:
                self._reading -= Counter([digest])

    @contextlib.contextmanager
    def turn(self, digest: str) -> Iterator[None]:
        """Be the only one who writes this shard; wait a little for one who may be lost."""
        with self.changed:
            if not self.changed.wait_for(lambda: digest not in self._arriving, _TURN_S):
                raise NodeError(
                    f"another sender brings this node the shard {digest[:12]}: wait for it to "
                    "finish, or end it there"
                )
            self._arriving[digest] = None
        try:
            yield
        finally:
            with self.changed:
                del self._arriving[digest]
                self.changed.notify_all()

    def begin(self, digest: str, size_bytes: int, start: int) -> Arrival:
        """Reserve what a shard needs from ``start`` on, for whoever has its turn.

        Raises ``StoreError`` when the disk has no room for it.
        """
        self.drop_partials()
        arrival = Arrival(self._folder.partial(digest), size_bytes, start)
        with self.changed:
            self._make(size_bytes - start, "the rest of a shard" if start else "a shard")
            self._arriving[digest] = arrival
        return arrival

    def prune(self, keep: Collection[str]) -> None:
        """Remove the shards of other stores, now that another one is served."""
        with self.changed:
            for path in self._folder.files():
                if path.stem not in keep and path.stem not in self._arriving:
                    path.unlink(missing_ok=True)
                    log.info("removed shard %s of another store", path.stem[:12])
            for one in self._damaged:
                if one.digest not in keep:
                    self._damaged.forget(one.digest)

    def drop_partials(self) -> None:
        """Remove beginnings that are too old or too many; who wants one at this moment keeps it."""
        with self.changed:
            idle = [p for p in self._folder.partials() if p.stem not in self._arriving]
            idle.sort(key=written_s)
            surplus = max(0, len(idle) - _MOST_PARTIALS)
            oldest = time.time() - _PARTIAL_DAYS * 86_400
            for number, path in enumerate(idle):
                if number < surplus or written_s(path) < oldest:
                    path.unlink(missing_ok=True)

    def removable(self) -> list[Path]:
        """What may go to make room, oldest first. For who holds ``changed``."""
        needed = self._serving | self._wanted | self._arriving.keys() | self._reading.keys()
        others = [path for path in self._folder.files() if path.stem not in needed]
        others.sort(key=lambda path: (path.stem in self._standby, written_s(path)))
        return [*self._damaged.files(), *others]

    def _make(self, needed_bytes: int, what: str) -> None:
        removable = iter(self.removable())
        while needed_bytes > (room := self._bytes()):
            path = next(removable, None)
            if path is None:
                raise StoreError(
                    f"the disk of this node has room for {max(0, room)} bytes, and {what} has "
                    f"{needed_bytes}: free some space below {self._folder.path}"
                )
            path.unlink(missing_ok=True)
            log.info("removed %s to make room", path.name)

    def _bytes(self) -> int:
        """Free bytes, without what the shards that arrive now still need; may be negative."""
        arrivals = [arrival for arrival in self._arriving.values() if arrival]
        promised = sum(arrival.size_bytes - arrival.received_bytes for arrival in arrivals)
        return free_disk_bytes(self._folder.path) - _DISK_MARGIN_BYTES - promised

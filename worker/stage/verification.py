"""Shards are read again, long after they have arrived: cards and memory lose bits.

In the background that is what the loaded stage maps: after each loading, each start, and each week.
On demand it is all that the node holds, as fast as the disk reads (``shards/comparison.py``).
"""

import contextlib
import logging
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from pi_cluster.cluster import settings
from pi_cluster.cluster.errors import NodeError
from pi_cluster.cluster.store.manifest import ShardFile
from pi_cluster.protos import pi_cluster_pb2 as pb
from pi_cluster.worker.shards.comparison import OnBlock, problem_of
from pi_cluster.worker.shards.damaged import DamagedShard
from pi_cluster.worker.shards.vault import ShardVault
from pi_cluster.worker.stage.assignment import Assignment
from pi_cluster.worker.stage.host import StageHost

log = logging.getLogger(__name__)

_TELL_S = 0.25  # how often whoever has a node verify hears from it
_LOWEST_PRIORITY = 19
_DAY_S = 86_400


class _Ended(Exception):
    """Nobody wants the result any more."""


@dataclass(slots=True)
class _Progress:
    """How far a verification on demand is, told from its thread to the call's."""

    total_bytes: int
    done_bytes: int = 0
    shards: int = 0
    name: str = ""
    damaged: list[DamagedShard] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def add(self, count: int) -> None:
        if self.ended.is_set():
            raise _Ended
        self.done_bytes += count

    @property
    def reply(self) -> pb.VerifyShardsReply:
        return pb.VerifyShardsReply(
            done_bytes=self.done_bytes,
            total_bytes=self.total_bytes,
            name=self.name,
            shards=self.shards,
        )


class Verifier:
    """Compares shards with their digests, and has the stage let go that maps a damaged one."""

    def __init__(
        self,
        vault: ShardVault,
        host: StageHost,
        mend: Callable[[], None] = lambda: None,
        bytes_ps: float = settings.VERIFY_BYTES_PS,
    ) -> None:
        """``mend`` is called, in the background, once all that is damaged of a stage is known."""
        self._vault = vault
        self._host = host
        self._mend = mend
        self._withdrawn: Assignment | None = None
        self._tried: Assignment | None = None  # to mend
        self._bytes_ps = bytes_ps
        self._files: tuple[ShardFile, ...] = ()
        self._checked_s: dict[str, float] = {}  # of these, by the clock that nobody sets
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._asked = threading.Lock()

    @contextlib.contextmanager
    def watching(self, every_s: float = settings.VERIFY_DAYS * _DAY_S) -> Iterator[None]:
        """Verify in the background what the stage maps, until the block ends."""
        thread = threading.Thread(target=self._watch, args=(every_s,), name="verify", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            self._woken.set()
            thread.join()

    def wake(self) -> None:
        """A stage has been loaded."""
        self._woken.set()

    def verify_all(
        self, on_end: Callable[[Callable[[], None]], bool]
    ) -> Iterator[pb.VerifyShardsReply]:
        """Verify all shards that are here; tells how far it is, and at the end what is damaged.

        ``on_end`` takes what is to be done when whoever asked has gone. Raises ``NodeError`` while
        that is done for somebody else.
        """
        if not self._asked.acquire(blocking=False):
            raise NodeError("this node verifies its shards for somebody else: wait for that to end")
        try:
            mapped = {file.sha256: file.size_bytes for file in self._host.files}
            sizes = mapped | self._vault.whole()
            progress = _Progress(sum(sizes.values()) + sum(mapped.values()))
            if not on_end(progress.ended.set):
                return
            with ThreadPoolExecutor(1, "verify") as pool:
                checking = pool.submit(self._check_all, list(sizes), progress)
                try:
                    while not checking.done():
                        wait([checking], _TELL_S)
                        yield progress.reply
                    checking.result()
                finally:
                    progress.ended.set()
        finally:
            self._asked.release()
        reply = progress.reply
        found = {one.digest: one for one in (*self._vault.damaged, *progress.damaged)}
        reply.damaged.extend(map(damaged_to_wire, found.values()))
        yield reply

    def _check_all(self, digests: list[str], progress: _Progress) -> None:
        names = self._host.shard_names
        for digest in digests:
            progress.name = names.get(digest, "")
            try:
                damaged = self._check(digest, progress.name, progress.add)
            except FileNotFoundError:
                continue  # removed since it was listed
            except _Ended:
                return
            if damaged:
                progress.damaged.append(damaged)
            else:
                progress.shards += 1

    def _watch(self, every_s: float) -> None:
        with contextlib.suppress(OSError):  # of this thread alone, so that decoding does not wait
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOWEST_PRIORITY)
        while True:
            self._woken.clear()
            if self._stopping.is_set():  # looked at last, or its waking could be slept through
                return
            withdrawn = self._look()
            file, due_s = self._next(math.inf if withdrawn else every_s)
            if file and due_s <= 0:
                with contextlib.suppress(_Ended, FileNotFoundError):
                    self._check(file.sha256, file.name, self._slowly)
            elif withdrawn is not self._tried:
                self._tried = withdrawn
                self._mend()
            else:
                self._woken.wait(min(due_s, threading.TIMEOUT_MAX))

    def _look(self) -> Assignment | None:
        """Whether the stage is withdrawn; all of it is to be checked when it is, or was loaded."""
        files, withdrawn = self._host.files, self._host.withdrawn
        if files is not self._files or withdrawn is not self._withdrawn:
            self._files, self._withdrawn, self._checked_s = files, withdrawn, {}
        return withdrawn

    def _next(self, every_s: float) -> tuple[ShardFile | None, float]:
        """The file that is verified next, and in how many seconds."""
        now = time.monotonic()

        def due_s(file: ShardFile) -> float:
            checked_s = self._checked_s.get(file.sha256)
            return 0.0 if checked_s is None else checked_s + every_s - now

        def order(file: ShardFile) -> tuple[float, int]:
            # Where a start or a loading broke off a round, those come first that waited longest.
            return due_s(file), -(self._vault.verified_ago_s([file.sha256]) or 0)

        sound = [file for file in self._files if file.sha256 not in self._vault.damaged]
        file = min(sound, key=order, default=None)
        return file, due_s(file) if file else every_s

    def _slowly(self, count: int) -> None:
        # Nobody computes on a stage that is withdrawn, and all wait for what else is damaged.
        pause_s = 0.0 if self._host.withdrawn else count / self._bytes_ps
        if self._stopping.wait(pause_s):
            raise _Ended

    def _check(self, digest: str, name: str, on_block: OnBlock) -> DamagedShard | None:
        """Read a shard, and set it aside if it is damaged; returns how, or None if it is right.

        Raises ``FileNotFoundError`` when it is not here, and is not mapped either.
        """
        mapped = {file.sha256: file for file in self._host.files}
        problem, inode = problem_of(self._vault, digest, mapped.get(digest), on_block)
        self._checked_s[digest] = time.monotonic()
        if not problem:
            self._vault.found_right(digest)
            return None
        damaged = DamagedShard(digest, name, problem)
        if self._vault.set_aside(damaged, inode):
            log.error("%s was set aside: it %s", damaged.label, problem)
            self._host.withdraw(damaged)
            self.wake()
        return damaged


def damaged_to_wire(damaged: DamagedShard) -> pb.DamagedShard:
    """As the contract has it."""
    return pb.DamagedShard(sha256=damaged.digest, name=damaged.name, problem=damaged.problem)

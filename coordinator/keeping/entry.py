"""One unfinished answer: its file, while a program has it to itself.

Who writes holds a lock on the file, which ends with the process. What a killed process has written
stays; a power cut takes what came since the last look at the clock, about a second, and that is
computed again, identically.
"""

import contextlib
import fcntl
import logging
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from pi_cluster.coordinator.keeping import lines
from pi_cluster.coordinator.keeping.what_was_asked import Asking
from pi_cluster.coordinator.records.events import is_at

log = logging.getLogger(__name__)

_SYNC_EVERY_S = 1.0  # a sync takes a card tens of milliseconds, which not every token can wait for
_CREATING = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_APPEND
_OPENING = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_APPEND | os.O_NONBLOCK


@dataclass(slots=True)
class JournalEntry:
    """One answer that grows. One thread at a time writes to it.

    It never fails whoever answers: what cannot be written is logged, and the answer is kept only
    as far as it got.
    """

    path: Path
    asking: Asking
    ids: list[int]
    """What was answered before this program took it up."""
    _file: int
    _size: int
    _synced_at: float = field(default_factory=time.monotonic)
    _has_grown: bool = False
    _is_torn: bool = False

    @classmethod
    def create(cls, path: Path, asking: Asking) -> Self:
        """An answer that is about to begin, in a new file. Raises ``OSError``."""
        file = os.open(path, _CREATING, 0o600)
        fcntl.flock(file, fcntl.LOCK_EX)  # who looks at it has it for a moment
        entry = cls(path, asking, [], file, 0)
        entry._write(lines.line(asking.to_json()))
        if entry._is_torn:
            entry.end()
            raise OSError(f"what was asked could not be written to {path}")
        return entry

    @classmethod
    def take(cls, path: Path) -> Self | None:
        """The answer in a file, which is this program's from now on.

        None for one that another program writes, and for what is no answer.
        """
        file = locked(path)
        if file is None:
            return None
        asking, ids, good_bytes = lines.read(file)
        if asking is None:
            os.close(file)
            return None
        os.ftruncate(file, good_bytes)  # what is written now comes behind whole lines
        return cls(path, asking, ids, file, good_bytes)

    @property
    def name(self) -> str:
        """By which people call it."""
        return self.path.name

    @property
    def has_grown(self) -> bool:
        """Whether there is anything to go on with that could not be asked anew as well."""
        return bool(self.ids) or self._has_grown

    def keep(self, token: int) -> None:
        """The answer goes on with ``token``."""
        self._has_grown = True
        self._write(lines.line({"ids": [token]}))
        if self._is_writing and time.monotonic() - self._synced_at > _SYNC_EVERY_S:
            self._sync()

    def end(self) -> None:
        """The answer has ended: nothing of it is kept. Harmless when it was left."""
        if self._file >= 0:
            self.path.unlink(missing_ok=True)
        self.leave()

    def leave(self) -> None:
        """Keep it as it is, for whoever goes on with it. Harmless when it was left."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    @property
    def _is_writing(self) -> bool:
        return self._file >= 0 and not self._is_torn

    def _write(self, line: bytes) -> None:
        if not self._is_writing:
            return
        if self._size + len(line) > lines.MOST_FILE_BYTES:
            self._give_up(f"it has more than {lines.MOST_FILE_BYTES >> 20} MiB")
            return
        try:
            written = os.write(self._file, line)
        except OSError as error:
            self._give_up(error.strerror)
            return
        self._size += written
        if written < len(line):
            self._give_up("the disk is full")

    def _sync(self) -> None:
        self._synced_at = time.monotonic()
        try:
            os.fsync(self._file)
        except OSError as error:
            self._give_up(error.strerror)

    def _give_up(self, why: str | None) -> None:
        # A line behind a torn one would not be read. It stays ours: at its end it goes, as others.
        log.warning("answer %s is not kept any further: %s", self.name, why)
        self._is_torn = True


def locked(path: Path) -> int | None:
    """A file that nobody writes, opened; None for any other."""
    try:
        file = os.open(path, _OPENING)
    except OSError:
        return None
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if is_at(file, path):
            return file
    os.close(file)
    return None

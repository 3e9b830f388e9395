"""The folder of unfinished answers: a file each, which this user alone may read.

Users' texts are in them. That of an answer that has ended is removed, and what nobody goes on with
is bounded: in number, in bytes, and in how long it stays.
"""

import contextlib
import logging
import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from pi_cluster.cluster import settings
from pi_cluster.cluster.errors import KeptNowhere
from pi_cluster.cluster.private_files import make_private_folder
from pi_cluster.coordinator.keeping import lines
from pi_cluster.coordinator.keeping.entry import JournalEntry, locked
from pi_cluster.coordinator.keeping.what_was_asked import Asking

log = logging.getLogger(__name__)

_NAME_BYTES = 4
_LOOKING = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is kept of what nobody goes on with. The oldest go first."""

    answers: int
    total_bytes: int
    """Of all files together. An answer for which there is no room beside those under way is not
    kept; one under way may still grow to ``lines.MOST_FILE_BYTES``."""
    age_s: float
    """Since an answer has grown."""


OF_COMMANDS = Bounds(answers=16, total_bytes=64 << 20, age_s=30 * 86_400.0)


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """What can be seen of an answer without taking it up."""

    name: str
    asking: Asking
    tokens: int
    is_running: bool
    """Whether a program writes it."""


class Journal:
    """Unfinished answers, for all programs of this user that know the folder."""

    def __init__(self, folder: Path, bounds: Bounds = OF_COMMANDS) -> None:
        """The folder is made when the first answer begins."""
        self.folder = folder
        self._bounds = bounds

    @classmethod
    def of_commands(cls, cluster: str) -> "Journal":
        """Where ``prompt`` and ``chat`` keep what a cluster's nodes answer."""
        return cls(settings.cluster_state(cluster) / "journal")

    def begin(self, asking: Asking) -> JournalEntry | None:
        """Keep an answer that is about to begin. None, which is logged, where that cannot be."""
        try:
            make_private_folder(self.folder)
            entry = JournalEntry.create(self.folder / secrets.token_hex(_NAME_BYTES), asking)
        except OSError as error:
            log.warning("this answer is not kept: %s", error)
            return None
        if self.tidy(entry.path) > self._bounds.total_bytes:
            log.warning(
                "this answer is not kept: those under way take %d MiB already",
                self._bounds.total_bytes >> 20,
            )
            entry.end()
            return None
        return entry

    def names(self) -> list[str]:
        """Of all answers that are kept, the newest first."""
        return [path.name for path in self._paths()]

    def look(self) -> list[KeptAnswer]:
        """All answers, the newest first, those under way too.

        Each is had for a moment, in which nobody can `resume` it.
        """
        found = []
        for path in self._paths():
            try:
                file = os.open(path, _LOOKING)
            except OSError:
                continue
            try:
                asking, ids, _ = lines.read(file)
            finally:
                os.close(file)
            if asking:
                if (lock := locked(path)) is not None:
                    os.close(lock)
                found.append(KeptAnswer(path.name, asking, len(ids), is_running=lock is None))
        return found

    def resume(self, name: str | None = None, command: str | None = None) -> JournalEntry:
        """Go on with an answer that no program writes any more: the newest one of ``command``.

        Raises ``KeptNowhere`` when there is none, or none called ``name``.
        """
        for path in self._paths():
            if name is not None and path.name != name:
                continue
            entry = JournalEntry.take(path)
            if entry and (command is None or entry.asking.command == command):
                return entry
            if entry:
                entry.leave()
        if name is None:
            asked = f" that `pi-cluster {command}` has asked for" if command else ""
            raise KeptNowhere(f"there is no unfinished answer{asked} to go on with: ask anew")
        there = ", ".join(self.names()) or "none"
        raise KeptNowhere(
            f"no unfinished answer {name!r} can be gone on with here; those that are kept: {there}"
        )

    def tidy(self, newest: Path | None = None) -> int:
        """Drop what is out of bounds, but for answers under way. How many bytes are left.

        ``newest`` is the file for which there is to be room, also where the clock has none newer.
        """
        bounds, now_s = self._bounds, time.time()
        count, total = 0, 0
        for path in sorted(self._paths(), key=lambda path: path != newest):
            with contextlib.suppress(FileNotFoundError):
                found = path.lstat()
                is_within = (
                    count < bounds.answers
                    and total + found.st_size <= bounds.total_bytes
                    and now_s - found.st_mtime <= bounds.age_s
                )
                if not is_within and (file := locked(path)) is not None:
                    path.unlink(missing_ok=True)
                    os.close(file)
                else:
                    count, total = count + 1, total + found.st_size
        return total

    def _paths(self) -> list[Path]:
        found = []
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            for path in self.folder.iterdir():
                with contextlib.suppress(FileNotFoundError):
                    found.append((path.lstat().st_mtime_ns, path))
        return [path for _, path in sorted(found, reverse=True)]

"""Answers that have not ended, written down as they grow, so that another program can go on.

Each has a file of its own, which this user alone may read: users' texts are in it. A line is one
record, ``crc32 of the JSON, a space, the JSON``: the first says what was asked, each other one
which ids were answered. What a power cut has torn ends what is read. The file of an answer that
has ended is removed.

Who writes holds a lock on the file, which ends with the process. What a killed process has written
stays; a power cut takes what came since the last look at the clock, about a second, and that is
computed again, identically.
"""

import contextlib
import fcntl
import json
import logging
import os
import secrets
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from pi_cluster.cluster import settings
from pi_cluster.cluster.errors import KeptNowhere
from pi_cluster.cluster.private_files import make_private_folder
from pi_cluster.coordinator.records.events import is_at

log = logging.getLogger(__name__)

MOST_ANSWERS = 16
MOST_FILE_BYTES = 32 << 20
MOST_BYTES = 64 << 20  # of all files together
_SYNC_EVERY_S = 1.0  # a sync takes a card tens of milliseconds, which not every token can wait for
_NAME_BYTES = 4
_MOST_ID = 1 << 31
_FORM = 1  # of the records; what another version has written is not read
_CREATING = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_APPEND
_OPENING = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_APPEND | os.O_NONBLOCK
_LOOKING = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


@dataclass(frozen=True, slots=True)
class Asking:
    """What was asked; all that it takes to ask it again, exactly."""

    command: str
    """Which command asked: ``prompt`` or ``chat``, or ``serve`` for who asked a server."""
    digest: str
    """Of the store whose model was asked."""
    prompt: str | list[Any]
    """As the user gave it: a text, ids or turns."""
    keywords: dict[str, Any]
    """``AskKeywords`` that are JSON; the seed is one of them."""
    prompt_ids: list[int]
    """What the model was given: a template may tell the date, and another day is another text."""
    asked_unix_s: float = 0.0
    """When it was asked; 0 where nobody wants to know."""

    def to_json(self) -> dict[str, Any]:
        """The first record."""
        return {
            "form": _FORM,
            "command": self.command,
            "digest": self.digest,
            "prompt": self.prompt,
            "keywords": self.keywords,
            "prompt_ids": self.prompt_ids,
            "asked_unix_s": self.asked_unix_s,
        }

    @classmethod
    def from_json(cls, told: object) -> Self | None:
        """What a first record says, or None for one that says nothing that is known here."""
        match told:
            case {
                "form": form,
                "command": str(command),
                "digest": str(digest),
                "prompt": str() | list() as prompt,
                "keywords": dict(keywords),
                "prompt_ids": list(prompt_ids),
                "asked_unix_s": float(asked_unix_s),
            } if form == _FORM and _are_ids(prompt_ids):
                return cls(command, digest, prompt, keywords, prompt_ids, asked_unix_s)
        return None


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """What can be seen of an answer without taking it up."""

    name: str
    asking: Asking
    tokens: int
    is_running: bool
    """Whether a program writes it."""


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
        self._write(_line({"ids": [token]}))
        if self._file >= 0 and time.monotonic() - self._synced_at > _SYNC_EVERY_S:
            self._sync()

    def end(self) -> None:
        """The answer has ended: nothing of it is kept."""
        if self._file >= 0:
            self.path.unlink(missing_ok=True)
        self.leave()

    def leave(self) -> None:
        """Keep it as it is, for whoever goes on with it. Harmless when it was left."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def _write(self, line: bytes) -> None:
        if self._file < 0:
            return
        if self._size + len(line) > MOST_FILE_BYTES:
            self._give_up(f"it has more than {MOST_FILE_BYTES >> 20} MiB")
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
        # A line behind a torn one would not be read.
        log.warning("answer %s is not kept any further: %s", self.name, why)
        self.leave()


class Journal:
    """The unfinished answers of one cluster, of all programs of this user."""

    def __init__(self, cluster: str) -> None:
        self.folder = settings.cluster_state(cluster) / "journal"

    def begin(self, asking: Asking) -> JournalEntry | None:
        """Keep an answer that is about to begin. None, which is logged, where that cannot be."""
        try:
            make_private_folder(self.folder)
            path = self.folder / secrets.token_hex(_NAME_BYTES)
            file = os.open(path, _CREATING, 0o600)
        except OSError as error:
            log.warning("this answer is not kept: %s", error)
            return None
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        entry = JournalEntry(path, asking, [], file, 0)
        entry._write(_line(asking.to_json()))
        self._make_room(path)
        return entry

    def names(self) -> list[str]:
        """Of all answers that are kept, the newest first."""
        return [path.name for path in self._paths()]

    def look(self, command: str) -> list[KeptAnswer]:
        """The answers of ``command``, the newest first, those under way too."""
        found = []
        for path in self._paths():
            try:
                file = os.open(path, _LOOKING)
            except OSError:
                continue
            try:
                asking, ids, _ = _read(file)
            finally:
                os.close(file)
            if asking and asking.command == command:
                if (lock := _locked(path)) is not None:
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
            entry = _taken(path)
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

    def _paths(self) -> list[Path]:
        found = []
        with contextlib.suppress(FileNotFoundError):
            for path in self.folder.iterdir():
                with contextlib.suppress(FileNotFoundError):
                    found.append((path.lstat().st_mtime_ns, path))
        return [path for _, path in sorted(found, reverse=True)]

    def _make_room(self, newest: Path) -> None:
        """Drop the oldest answers that are too many; those under way stay."""
        count, total = 0, 0
        for path in [newest, *(path for path in self._paths() if path != newest)]:
            with contextlib.suppress(FileNotFoundError):
                size = path.lstat().st_size
                if count < MOST_ANSWERS and total + size <= MOST_BYTES:
                    count, total = count + 1, total + size
                elif (file := _locked(path)) is not None:
                    path.unlink(missing_ok=True)
                    os.close(file)


def _taken(path: Path) -> JournalEntry | None:
    """The answer in a file, which is this program's from now on; None if it is not to be had."""
    file = _locked(path)
    if file is None:
        return None
    asking, ids, good_bytes = _read(file)
    if asking is None:
        os.close(file)
        return None
    os.ftruncate(file, good_bytes)  # what is written now comes behind whole lines
    return JournalEntry(path, asking, ids, file, good_bytes)


def _locked(path: Path) -> int | None:
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


def _read(file: int) -> tuple[Asking | None, list[int], int]:
    """What was asked, what was answered, and how many bytes that takes; up to the first fault."""
    asking: Asking | None = None
    ids: list[int] = []
    good_bytes = 0
    for line in os.pread(file, MOST_FILE_BYTES, 0).splitlines(keepends=True):
        told = _record(line)
        if asking is None:
            asking = Asking.from_json(told)
            if asking is None:
                break
        elif isinstance(told, dict) and _are_ids(told.get("ids")):
            ids += told["ids"]
        else:
            break
        good_bytes += len(line)
    return asking, ids, good_bytes


def _line(record: Mapping[str, Any]) -> bytes:
    # A lone surrogate becomes its escape, which JSON reads back.
    data = json.dumps(record, ensure_ascii=False, separators=(",", ":"))
    encoded = data.encode("utf-8", "backslashreplace")
    return b"%08x %s\n" % (zlib.crc32(encoded), encoded)


def _record(line: bytes) -> object:
    """What a line says; None for one that is torn or changed."""
    checked, data = line[:8], line[9:-1]
    if line[8:9] != b" " or line[-1:] != b"\n" or checked != b"%08x" % zlib.crc32(data):
        return None
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _are_ids(told: object) -> bool:
    return isinstance(told, list) and all(
        isinstance(one, int) and not isinstance(one, bool) and 0 <= one < _MOST_ID for one in told
    )

"""Reads what `events.py` wrote, once or as it comes. Whatever else stands there is counted.

Power cuts and full disks tear lines, and people edit files: what is no event is skipped, and never
keeps the others from being read.
"""

import json
import math
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Never, Self, TypeGuard

from pi_cluster.cluster.errors import StateError
from pi_cluster.cluster.system_failure import system_failure
from pi_cluster.coordinator.records.events import (
    MOST_FILE_BYTES,
    MOST_LINE_BYTES,
    EventLog,
    is_at,
)

_PIECE_BYTES = 1 << 16
_MOST_READ_BYTES = 2 * MOST_FILE_BYTES  # of a file; a larger one is not ours alone
_KIND = re.compile(r"[a-z][a-z_]{0,39}")
_LATEST_UNIX_S = 253_370_000_000.0  # of the year 9999, behind which no calendar goes


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened."""

    unix_s: float
    kind: str
    """As of ``EventKind``, or one that a newer program knows."""
    said: str
    """A sentence. It has names of nodes, and may have anything: show it as ``cluster/shown.py``."""
    details: Mapping[str, Any]
    """JSON values, as each kind has them."""

    @property
    def seconds(self) -> float | None:
        """How long it took, of a heal."""
        value = self.details.get("seconds")
        return float(value) if _is_number(value) and 0 <= value < _LATEST_UNIX_S else None

    @property
    def cause(self) -> str:
        """To what the session was lost, of a heal; empty where that is not told."""
        value = self.details.get("cause")
        return value if isinstance(value, str) and _KIND.fullmatch(value) else ""


@dataclass(slots=True)
class Reading:
    """What was read."""

    events: list[Event] = field(default_factory=list)
    skipped: int = 0
    """Lines that are no events."""

    def add(self, line: bytes) -> None:
        """Read a line; blank ones part a torn line from the next."""
        if not line.strip():
            return
        try:
            self.events.append(_event(line))
        except (ValueError, KeyError, RecursionError):
            self.skipped += 1


class EventReader:
    """Reads a cluster's events: first all that are kept, then those that have come since."""

    def __init__(self, events: EventLog) -> None:
        self._paths = (events.older_path, events.path)
        self._file: _OpenFile | None = None
        self._has_moved = True

    def read(self) -> Reading:
        """All since the last time. Raises ``StateError`` and ``SystemFailure`` for the file."""
        reading = Reading()
        if self._file:
            self._file.read(reading)
        # A writer may still have had it open when it was renamed: only a look later it is over.
        if self._has_moved:
            self._go_on(reading)
        self._has_moved = self._file is None or not is_at(self._file.descriptor, self._paths[1])
        return reading

    def _go_on(self, reading: Reading) -> None:
        """To the files that are newer than the one that is read."""
        for path in self._paths:
            file = _open(path)
            if file is None:
                continue
            if self._file and file.is_same(self._file):
                file.close()
                continue
            if self._file:
                self._file.give_up(reading)
            self._file = file
            file.read(reading)

    def end(self, reading: Reading) -> None:
        """Count what has no end, and close."""
        if self._file:
            self._file.give_up(reading)
            self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.end(Reading())


def read_events(events: EventLog) -> Reading:
    """All that are kept, in order. Raises ``StateError`` and ``SystemFailure`` for the file."""
    with EventReader(events) as reader:
        reading = reader.read()
        reader.end(reading)
    return reading


class _OpenFile:
    """One file of events, read as far as it goes."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._at = max(0, os.fstat(descriptor).st_size - _MOST_READ_BYTES)
        self._begun = b""  # of a line whose end has not come
        self._is_within = self._at > 0  # of a line whose beginning is not known

    def read(self, reading: Reading) -> None:
        """Add the lines that are whole by now."""
        if os.fstat(self.descriptor).st_size < self._at:  # somebody has emptied it
            self._at, self._begun, self._is_within = 0, b"", False
        while piece := os.pread(self.descriptor, _PIECE_BYTES, self._at):
            self._at += len(piece)
            *whole, self._begun = (self._begun + piece).split(b"\n")
            for line in whole:
                if self._is_within or len(line) >= MOST_LINE_BYTES:
                    reading.skipped += 1
                    self._is_within = False
                else:
                    reading.add(line)
            if len(self._begun) >= MOST_LINE_BYTES:
                self._begun, self._is_within = b"", True

    def is_same(self, other: "_OpenFile") -> bool:
        """Whether both are one file."""
        return os.path.samestat(os.fstat(self.descriptor), os.fstat(other.descriptor))

    def give_up(self, reading: Reading) -> None:
        """Close it; a line without an end was torn."""
        reading.skipped += bool(self._begun or self._is_within)
        self.close()

    def close(self) -> None:
        """Close it."""
        os.close(self.descriptor)


def _open(path: Path) -> _OpenFile | None:
    try:
        # Without waiting: what stands there may be a pipe that nobody writes to.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise system_failure(error, what=path) from None
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return _OpenFile(descriptor)
    os.close(descriptor)
    raise StateError(f"{path} is no file: remove it, and events can be written down again")


def _event(line: bytes) -> Event:
    """Raises ``ValueError``, ``KeyError`` and ``RecursionError`` for what is none."""
    values = json.loads(line, parse_constant=_refuse, parse_float=_finite)
    if not isinstance(values, dict):
        raise ValueError("no object")
    unix_s, kind, said = values.pop("unix_s"), values.pop("kind"), values.pop("said")
    if not _is_number(unix_s) or not 0 <= unix_s < _LATEST_UNIX_S:
        raise ValueError("no time")
    if not (isinstance(kind, str) and _KIND.fullmatch(kind) and isinstance(said, str)):
        raise ValueError("no sentence")
    return Event(float(unix_s), kind, said, values)


def _is_number(value: object) -> TypeGuard[int | float]:
    if isinstance(value, int):
        return not isinstance(value, bool)
    return isinstance(value, float) and math.isfinite(value)


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse(text)


def _refuse(constant: str) -> Never:
    raise ValueError(f"{constant} is no JSON")

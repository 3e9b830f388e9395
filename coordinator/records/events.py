"""What happened to a cluster's pipeline, and when: one line of JSON for each event, in order.

Every program of this user writes to the same file, `events.jsonl`. A full one is kept as
`events.jsonl.1`, in place of the one kept before, so both together are bounded.
`event_reading.py` reads them.
"""

import contextlib
import fcntl
import json
import logging
import os
import time
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from pi_cluster.cluster import settings

log = logging.getLogger(__name__)

MOST_FILE_BYTES = 1 << 20  # some thousand events
MOST_LINE_BYTES = 4_096
_MOST_SAID = 600  # characters, each of at most six bytes
_NAME = "events.jsonl"
# What stands in the file's place may be a pipe that nobody reads: that is no reason to wait.
_APPENDING = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK


class EventKind(StrEnum):
    """What can happen."""

    UP = "up"
    DOWN = "down"
    NODE_LOST = "node_lost"
    NODE_SET_ASIDE = "node_set_aside"
    NODE_SLOW = "node_slow"
    NODE_HOT = "node_hot"
    MEMORY_SHORT = "memory_short"
    HEALED = "healed"
    HEAL_FAILED = "heal_failed"
    TAKEN_IN = "taken_in"
    COPIES_MADE = "copies_made"


class EventLog:
    """Events of one cluster, as this machine has seen them. For any number of threads."""

    def __init__(self, cluster: str, most_bytes: int = MOST_FILE_BYTES) -> None:
        """A file that has reached ``most_bytes`` is full."""
        self.path = settings.cluster_state(cluster) / _NAME
        self.older_path = self.path.with_name(f"{_NAME}.1")
        self._most_bytes = most_bytes

    def note(self, kind: EventKind, said: str, details: Mapping[str, Any] | None = None) -> None:
        """Write an event down. ``said`` is a sentence for people, ``details`` are JSON values.

        Texts of users have no place in it. It never fails whoever tells of it: what cannot be
        written is logged.
        """
        line = _line(kind, said, details or {})
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(self.path, _APPENDING, 0o600)
            try:
                _append(file, line)
                if os.fstat(file).st_size >= self._most_bytes:
                    self._keep_as_older(file)
            finally:
                os.close(file)
        except OSError as error:
            log.warning("an event could not be written down: %s", error)

    def _keep_as_older(self, file: int) -> None:
        """Begin a new file, unless another program has done so or is about to."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        if is_at(file, self.path):
            self.path.replace(self.older_path)


def _line(kind: EventKind, said: str, details: Mapping[str, Any]) -> bytes:
    about = {"unix_s": time.time(), "kind": kind.value, "said": said[:_MOST_SAID]}
    line = _encoded({**about, **details, **about})
    return line if len(line) <= MOST_LINE_BYTES else _encoded(about)


def _encoded(event: Mapping[str, Any]) -> bytes:
    # A lone surrogate, of a file name that is no UTF-8, becomes its escape in JSON.
    return json.dumps(event, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"


def _append(file: int, line: bytes) -> None:
    """Write a whole line behind whole lines: what a full disk or a power cut tore stays alone."""
    size = os.fstat(file).st_size
    is_torn = size > 0 and os.pread(file, 1, size - 1) != b"\n"
    data = b"\n" + line if is_torn else line
    if os.write(file, data) < len(data):
        log.warning("an event could not be written down: the disk is full")


def is_at(file: int, path: Path) -> bool:
    """Whether an open file still has its name."""
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file), path.stat())
    return False

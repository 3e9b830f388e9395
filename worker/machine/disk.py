"""The disk that shards are kept on: its size, and how fast it reads."""

import contextlib
import mmap
import os
import shutil
import time
from pathlib import Path

_MEASURED_BYTES = 64 << 20  # a second of a microSD card
_PART_BYTES = 4 << 20
_LEAST_BYTES = 1 << 20  # less says more about the first access than about the rate
_PATIENCE_S = 5.0


def size_bytes(folder: Path) -> int:
    """All of the disk that a folder lies on; 0 where it does not tell."""
    try:
        return shutil.disk_usage(folder).total
    except OSError:
        return 0


def problem(folder: Path) -> str:
    """What keeps anybody from writing to the disk of a folder; empty if nothing does."""
    try:
        is_read_only = os.statvfs(folder).f_flag & os.ST_RDONLY
    except OSError as error:
        return f"{folder} cannot be read: {error.strerror}"
    return f"the disk of {folder} is mounted read-only" if is_read_only else ""


def read_rate_bytes_ps(file: Path | None) -> float:
    """Bytes per second that come from the disk itself, past the page cache.

    Reads up to 64 MiB of the file, for about five seconds at most. Returns 0 when there is no
    file of at least 1 MiB, or it lies where direct reads are not possible, as in memory.
    """
    if file is None:
        return 0.0
    try:
        # Dropping pages from the cache instead would spare those that a stage has mapped.
        descriptor = os.open(file, os.O_RDONLY | os.O_DIRECT)
    except OSError:
        return 0.0
    try:
        with mmap.mmap(-1, _PART_BYTES) as part:  # aligned, as direct reads want it
            began = time.perf_counter()
            count = _read(descriptor, part, began + _PATIENCE_S)
            taken_s = time.perf_counter() - began
    finally:
        os.close(descriptor)
    return count / taken_s if count >= _LEAST_BYTES else 0.0


def _read(descriptor: int, part: mmap.mmap, deadline: float) -> int:
    """Read from the beginning; returns how much came until the end, an error or the deadline."""
    count = 0
    with contextlib.suppress(OSError):
        while count < _MEASURED_BYTES and time.perf_counter() < deadline:
            got = os.preadv(descriptor, [part], count)
            count += got
            if got < _PART_BYTES:
                break
    return count

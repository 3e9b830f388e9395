"""One worker per data directory, and how others on this machine find it.

The worker holds a lock on ``<data_dir>/lock`` for as long as it lives, whatever ends it; the file
says which process it is and, once it answers calls, where.
"""

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pi_cluster.cluster.errors import StateError

_LOCK_NAME = "lock"
_MAX_LINE = 500
_TRIES = 10
_RETRY_S = 0.02


@dataclass(frozen=True, slots=True)
class Presence:
    """A live worker on this machine. Address and node id are empty until it answers calls."""

    process_id: int
    address: str = ""
    node_id: str = ""


@contextlib.contextmanager
def present(data_dir: Path) -> Iterator[Callable[[Presence], None]]:
    """Hold a data directory alone, and tell through the returned function who holds it.

    Raises ``StateError`` when another worker has it.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    try:
        file = (data_dir / _LOCK_NAME).open("a+")
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        with _present_on_read_only(data_dir):
            yield _tell_nobody
        return
    with file:
        _hold(file.fileno(), data_dir)

        def tell(presence: Presence) -> None:
            file.truncate(0)
            file.write(f"{presence.process_id} {presence.address} {presence.node_id}\n")
            file.flush()

        tell(Presence(os.getpid()))
        yield tell
        file.truncate(0)


@contextlib.contextmanager
def _present_on_read_only(data_dir: Path) -> Iterator[None]:
    """Hold the folder itself: a card that turned read-only must not keep a worker from saying so.

    Not its lock file, whose last words are those of an earlier worker.
    """
    descriptor = os.open(data_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _hold(descriptor, data_dir)
        yield
    finally:
        os.close(descriptor)


def _tell_nobody(presence: Presence) -> None:
    """There is no place to write it."""


def _hold(descriptor: int, data_dir: Path) -> None:
    if not _take(descriptor):
        raise StateError(
            f"{data_dir} is in use by another worker: stop it, or give this one another --data-dir"
        )


def _take(descriptor: int) -> bool:
    """Lock for ourselves; a glance by :func:`find_presence` holds the lock for a moment only."""
    for _ in range(_TRIES):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(_RETRY_S)
    return False


def find_presence(data_dir: Path) -> Presence | None:
    """The worker that runs from a data directory, or None."""
    path = data_dir / _LOCK_NAME
    if not path.exists():
        return None
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            words = file.read(_MAX_LINE).split()
            return Presence(int(words[0]), *words[1:3]) if words else Presence(0)
    return None


def forget_presence(data_dir: Path) -> None:
    """Remove the file, by whoever holds the directory and removes what else is in it."""
    (data_dir / _LOCK_NAME).unlink(missing_ok=True)

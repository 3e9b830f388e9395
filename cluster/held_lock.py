"""Whether a lock file is held, by whom ever: its lock ends with the process that holds it."""

import fcntl
from pathlib import Path


def is_held(path: Path) -> bool:
    """Whether a process holds the file's lock alone. Raises ``OSError`` as the system does."""
    try:
        lock = path.open("rb")
    except FileNotFoundError:
        return False
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False

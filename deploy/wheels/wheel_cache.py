"""The operator's cache of wheels: a folder for each set, filled once, removed when out of use.

A folder's name says what determined what is in it. It is marked when all is there, and the mark's
time is that of its last use. Whoever fills or removes a folder holds its lock, a file beside it.
"""

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pi_cluster.cluster import settings

_COMPLETE = "complete"
_LOCK = ".lock"
_UNUSED_S = 86_400.0  # no `up` goes on sending for so long after it has taken a folder


@contextmanager
def filled(name: str) -> Iterator[tuple[Path, bool]]:
    """A folder to use, and whether it is to be filled first.

    Hosts that need the same wheels are set up at the same time; one of them gets the wheels, the
    others wait. A folder that was not filled to the end is emptied.
    """
    folder = _cache() / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _locked(folder, fcntl.LOCK_EX):
        folder.mkdir(exist_ok=True)
        complete = folder / _COMPLETE
        is_empty = not complete.exists()
        if is_empty:
            for left in folder.iterdir():
                left.unlink()
        yield folder, is_empty
        complete.touch()


def remove_unused(kind: str) -> None:
    """Remove the folders whose names begin so and that nobody has used for a day.

    One whose lock is held, or that is another user's, stays.
    """
    for folder in list(_cache().glob(f"{kind}*/")):
        with contextlib.suppress(OSError), _locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB):
            if _is_unused(folder):
                (folder / _COMPLETE).unlink(missing_ok=True)  # the rest may be broken off
                if folder.exists():
                    shutil.rmtree(folder)
                _lock_file(folder).unlink()


def _is_unused(folder: Path) -> bool:
    for path in (folder / _COMPLETE, folder):
        with contextlib.suppress(FileNotFoundError):
            return time.time() - path.stat().st_mtime > _UNUSED_S
    return True  # somebody else has just removed it


@contextmanager
def _locked(folder: Path, operation: int) -> Iterator[None]:
    """The lock of a folder. Raises ``BlockingIOError`` with ``LOCK_NB`` when somebody has it."""
    path = _lock_file(folder)
    while True:
        with path.open("w") as lock:
            fcntl.flock(lock, operation)
            # Whoever removes a folder removes this file too, and who comes then makes another.
            if _is_same(lock.fileno(), path):
                yield
                return


def _is_same(descriptor: int, path: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), path.stat())
    return False


def _lock_file(folder: Path) -> Path:
    return folder.with_name(folder.name + _LOCK)


def _cache() -> Path:
    return settings.folders().cache / "wheels"

"""Small files in which Linux tells about itself: bounded, and None where there is nothing to read.

Every reader takes the folder that holds ``proc``, ``sys``, ``etc`` and ``run``, which is ``/`` on a
real machine.
"""

from pathlib import Path

ROOT = Path("/")

_MAX_BYTES = 64 << 10


def read_text(path: Path) -> str | None:
    """What a file says, without white space and NULs around it.

    A driver may refuse a read (the speed of a port that is down), and a hardened service may not
    see a file at all: both are None, as when there is no such file.
    """
    try:
        with path.open("rb") as file:
            return file.read(_MAX_BYTES).decode(errors="replace").strip(" \t\r\n\0")
    except OSError:
        return None


def read_number(path: Path, base: int = 10) -> int | None:
    """The whole number that a file says."""
    try:
        return int(read_text(path) or "", base)
    except ValueError:
        return None


def read_counters(path: Path) -> dict[str, int]:
    """Lines of a name and a number, as in ``/proc/meminfo`` and ``/proc/vmstat``."""
    counters = {}
    for line in (read_text(path) or "").splitlines():
        words = line.replace(":", " ").split()
        if len(words) > 1 and words[1].isascii() and words[1].isdigit():
            counters[words[0]] = int(words[1])
    return counters


def entries(folder: Path, pattern: str = "*", most: int = 64) -> list[Path]:
    """What lies in a folder, in order of name, at most so many."""
    try:
        return sorted(folder.glob(pattern))[:most]
    except OSError:
        return []

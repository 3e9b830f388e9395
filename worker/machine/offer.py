"""What this machine can offer: memory and disk."""

import socket
from pathlib import Path

import psutil

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class UsableMemory:
    """What a worker may use: all of the machine, or less of it."""

    def __init__(self, limit_bytes: int | None = None) -> None:
        self._limit_bytes = limit_bytes

    @property
    def total_bytes(self) -> int:
        """The machine's, or the limit."""
        total = int(psutil.virtual_memory().total)
        return total if self._limit_bytes is None else min(total, self._limit_bytes)

    @property
    def free_bytes(self) -> int:
        """What may still be taken, page cache counted as free, and with it mapped shards."""
        free = int(psutil.virtual_memory().available)
        if self._limit_bytes is None:
            return free
        used = psutil.Process().memory_info()
        return max(0, min(free, self._limit_bytes - (used.rss - used.shared)))


def resident_bytes() -> int:
    """UsableMemory of this process, mapped shards included."""
    return int(psutil.Process().memory_info().rss)


def free_disk_bytes(folder: Path) -> int:
    """Free bytes where ``folder`` lies."""
    return int(psutil.disk_usage(str(folder)).free)


def machine_id() -> str:
    """Equal for processes that share one machine's memory, containers on it included."""
    return _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else socket.gethostname()

"""What this machine can offer: memory and disk."""

import socket
from pathlib import Path

import psutil

from pi_cluster.worker.machine import memory_pressure
from pi_cluster.worker.machine.system_files import ROOT

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class UsableMemory:
    """What a worker may use: all of the machine or of its control group, or less of it."""

    def __init__(self, limit_bytes: int | None = None, root: Path = ROOT) -> None:
        """``limit_bytes`` is what its user grants it; ``root`` holds ``proc`` and ``sys``."""
        self._limit_bytes = limit_bytes
        self._root = root
        self._machine_bytes = int(psutil.virtual_memory().total)

    @property
    def total_bytes(self) -> int:
        """The machine's, or the least limit."""
        limits = (self._limit_bytes, memory_pressure.limit_bytes(self._root))
        return min(self._machine_bytes, *(limit or self._machine_bytes for limit in limits))

    @property
    def free_bytes(self) -> int:
        """What may still be taken, page cache counted as free, and with it mapped shards."""
        free = memory_pressure.available_bytes(self._root)
        if free is None:
            free = int(psutil.virtual_memory().available)
        room = memory_pressure.room_bytes(self._root)
        if room is not None:
            free = min(free, room)
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

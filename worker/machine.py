"""What this machine can offer: memory and disk."""

import socket
from pathlib import Path

import psutil

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def memory_bytes() -> tuple[int, int]:
    """All memory of the machine and what is free of it, page cache counted as free."""
    memory = psutil.virtual_memory()
    return memory.total, memory.available


def resident_bytes() -> int:
    """Memory of this process, mapped shards included."""
    return int(psutil.Process().memory_info().rss)


def free_disk_bytes(folder: Path) -> int:
    """Free bytes where ``folder`` lies."""
    return int(psutil.disk_usage(str(folder)).free)


def machine_id() -> str:
    """Equal for processes that share one machine's memory, containers on it included."""
    return _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else socket.gethostname()

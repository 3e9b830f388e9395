"""What this machine can offer: memory, disk, and how fast it reads weights."""

import socket
import time
from pathlib import Path

import numpy as np
import psutil

_PROBE_BYTES = 64 << 20  # larger than any cache of a Pi, so that memory itself is measured
_PROBES = 5
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


def measure_read_bandwidth() -> int:
    """Bytes per second that one thread reads from memory, the best of a few probes."""
    buffer = np.ones(_PROBE_BYTES // 4, np.float32)
    fastest = min(_timed_read(buffer) for _ in range(_PROBES))
    return int(buffer.nbytes / fastest)


def _timed_read(buffer: np.ndarray) -> float:
    start = time.perf_counter()
    buffer.sum()
    return time.perf_counter() - start

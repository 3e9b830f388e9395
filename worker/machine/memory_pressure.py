"""Memory beyond what is free: swap, the worker's own limit, and what was killed for want of it."""

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pi_cluster.worker.machine.system_files import ROOT, read_counters, read_number, read_text

_NO_LIMIT_BYTES = 1 << 60  # version 1 of control groups tells a number beyond this for none


@dataclass(frozen=True, slots=True)
class Swap:
    """Space on disk, or compressed memory, that pages of programs are moved to."""

    total_bytes: int
    used_bytes: int


def swap(root: Path = ROOT) -> Swap:
    """All swap of the machine."""
    kilobytes = read_counters(root / "proc/meminfo")
    total, free = kilobytes.get("SwapTotal", 0), kilobytes.get("SwapFree", 0)
    return Swap(total << 10, max(0, total - free) << 10)


def out_of_memory_kills(root: Path = ROOT) -> int:
    """Processes that Linux has killed since boot because memory had run out."""
    return read_counters(root / "proc/vmstat").get("oom_kill", 0)


def limit_bytes(root: Path = ROOT) -> int:
    """The least memory limit of the control groups that this process is in; 0 without one."""
    return min((group.limit_bytes for group in _limited_groups(root)), default=0)


def available_bytes(root: Path = ROOT) -> int | None:
    """What the machine may still give to programs, page cache counted as free; None if untold."""
    kilobytes = read_counters(root / "proc/meminfo").get("MemAvailable")
    return None if kilobytes is None else kilobytes << 10


def room_bytes(root: Path = ROOT) -> int | None:
    """What this process may still take before its control groups are full; None without a limit.

    Pages of files count as free, and with them mapped shards: Linux drops them before it kills.
    """
    return min((group.room_bytes for group in _limited_groups(root)), default=None)


def stalled_share(root: Path = ROOT) -> float:
    """Share of the last ten seconds in which nothing could go on for want of memory; 0 if untold.

    Source: "PSI - Pressure Stall Information" in Linux's documentation, ``full avg10``.
    """
    files = [root / "proc/pressure/memory"]
    files += [folder / "memory.pressure" for folder, is_v1 in _groups(root) if not is_v1]
    return max(map(_full_avg10, files), default=0.0)


@dataclass(frozen=True, slots=True)
class _Group:
    """A control group with a limit."""

    limit_bytes: int
    used_bytes: int
    file_bytes: int
    """Of what is used: pages of files."""

    @property
    def room_bytes(self) -> int:
        return max(0, self.limit_bytes - self.used_bytes + self.file_bytes)


def _limited_groups(root: Path) -> Iterator[_Group]:
    for folder, is_v1 in _groups(root):
        limit = read_number(folder / ("memory.limit_in_bytes" if is_v1 else "memory.max"))
        if limit is None or not 0 < limit < _NO_LIMIT_BYTES:
            continue
        used = read_number(folder / ("memory.usage_in_bytes" if is_v1 else "memory.current"))
        counters = read_counters(folder / "memory.stat")
        prefix = "total_" if is_v1 else ""  # version 1 tells what lies in the group itself besides
        files = sum(counters.get(f"{prefix}{kind}_file", 0) for kind in ("active", "inactive"))
        yield _Group(limit, used or 0, files)


def _groups(root: Path) -> Iterator[tuple[Path, bool]]:
    """The groups of this process that may bound its memory, and whether they are of version 1.

    With each come all that it lies in.
    """
    for line in (read_text(root / "proc/self/cgroup") or "").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        is_v1 = controllers != ""
        if is_v1 and "memory" not in controllers.split(","):
            continue
        mount = root / "sys/fs/cgroup" / ("memory" if is_v1 else "")
        parts = [part for part in PurePosixPath(group).parts if part not in ("/", "..")]
        for depth in range(len(parts) + 1):
            yield mount.joinpath(*parts[:depth]), is_v1


def _full_avg10(file: Path) -> float:
    for line in (read_text(file) or "").splitlines():
        kind, *values = line.split()
        told = dict(value.partition("=")[::2] for value in values)
        with contextlib.suppress(KeyError, ValueError):
            if kind == "full" and math.isfinite(percent := float(told["avg10"])):
                return percent / 100
    return 0.0

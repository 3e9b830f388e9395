"""Memory beyond what is free: swap, the worker's own limit, and what was killed for want of it."""

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
    limits = []
    for line in (read_text(root / "proc/self/cgroup") or "").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if controllers == "":
            limits += _limits(root / "sys/fs/cgroup", group, "memory.max")
        elif "memory" in controllers.split(","):
            limits += _limits(root / "sys/fs/cgroup/memory", group, "memory.limit_in_bytes")
    return min(limits, default=0)


def _limits(mount: Path, group: str, name: str) -> list[int]:
    """The limits of a group and of all that it lies in."""
    parts = [part for part in PurePosixPath(group).parts if part not in ("/", "..")]
    folders = [mount.joinpath(*parts[:depth]) for depth in range(len(parts) + 1)]
    limits = [read_number(folder / name) for folder in folders]
    return [limit for limit in limits if limit is not None and 0 < limit < _NO_LIMIT_BYTES]

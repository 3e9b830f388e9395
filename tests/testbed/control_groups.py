"""A control group for each host: systemd in one must not find the units of another in its own."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Needs its processors and memory nodes written before anything can join, and isolates nothing here.
_UNWANTED = "cpuset"
_PREFIX = "pi-cluster-testbed-"


@contextmanager
def control_groups(name: str) -> Iterator[list[Path]]:
    """A group of this name in each hierarchy of this machine, below the group of this process.

    Whatever is in them must have ended when the block does.
    """
    parents = list(_own_groups())
    for parent in parents:
        _remove_forgotten(parent)
    groups = [parent / f"{_PREFIX}{os.getpid()}-{name}" for parent in parents]
    for group in groups:
        group.mkdir()
    try:
        yield groups
    finally:
        for group in groups:
            _remove(group)


def _own_groups() -> Iterator[Path]:
    """Source: cgroups(7), ``/proc/PID/cgroup``."""
    mounts = {}
    for line in Path("/proc/mounts").read_text().splitlines():
        _, folder, kind, options, *_ = line.split()
        if kind == "cgroup2":
            mounts[""] = Path(folder)
        elif kind == "cgroup":
            mounts |= {option: Path(folder) for option in options.split(",")}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        controller = controllers.split(",")[0]
        if controller in mounts and _UNWANTED not in controllers:
            yield mounts[controller] / path.lstrip("/")


def _remove_forgotten(parent: Path) -> None:
    """Remove what a process that was killed has left."""
    for group in parent.glob(f"{_PREFIX}*-*"):
        process_id = group.name.removeprefix(_PREFIX).partition("-")[0]
        if not Path("/proc", process_id).exists():
            _remove(group)


def _remove(group: Path) -> None:
    for below in sorted(group.rglob("*/"), reverse=True):
        below.rmdir()
    group.rmdir()

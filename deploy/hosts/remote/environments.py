"""Virtual environments made of wheels: no compiler, no package index, no pip of the system."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any, BinaryIO

from pi_cluster.deploy.hosts.remote import files, framing, layout
from pi_cluster.deploy.hosts.remote.layout import Failure

_MARKER = "complete.json"
_PIP_TIMEOUT_S = 900  # a Pi 3 with a slow card


def lacking(wheels: list[dict[str, Any]]) -> list[str]:
    """Digests of the wheels that are not here, or not as they should be."""
    missing = []
    for wheel in wheels:
        path = layout.wheel(wheel["sha256"], wheel["name"])
        if not path.is_file() or files.sha256_of(path) != wheel["sha256"]:
            missing.append(wheel["sha256"])
    return missing


def keep(wheel: dict[str, Any], pipe: BinaryIO, size: int) -> None:
    """Write a wheel as it comes; raises ``Failure`` when it is not the one announced.

    All ``size`` bytes are read even then, so that the next message is found.
    """
    path = layout.wheel(wheel["sha256"], wheel["name"])
    left = size
    problem = ""
    try:
        with files.written(path) as file:
            while left:
                piece = pipe.read(min(left, framing.PIECE_BYTES))
                if not piece:
                    raise framing.Ended("the connection ended within a wheel")
                left -= len(piece)
                file.write(piece)
    except OSError as error:
        problem = error.strerror or str(error)
    while left:
        left -= len(framing.exactly(pipe, min(left, framing.PIECE_BYTES)))
    if not problem and files.sha256_of(path) != wheel["sha256"]:
        problem = "it arrived changed"
    if problem:
        files.remove(path)
        raise Failure(f"cannot keep {wheel['name']}: {problem}")


def make(cluster: str, digest: str, wheels: list[dict[str, Any]]) -> bool:
    """Make the environment of exactly these wheels; returns whether it was missing.

    It counts once its marker is on disk, which is written after everything else is.
    """
    folder = layout.environment(cluster, digest)
    if (folder / _MARKER).is_file():
        return False
    files.remove(folder)  # a power cut left half of it
    folder.parent.mkdir(parents=True, exist_ok=True)
    paths = [layout.wheel(wheel["sha256"], wheel["name"]) for wheel in wheels]
    pip = [path for path in paths if path.name.startswith("pip-")]
    if len(pip) != 1:
        raise Failure("pip's own wheel is not among those that were sent")
    # Its own pip would need ensurepip, which Debian keeps in another package.
    layout.command(sys.executable, "-I", "-m", "venv", "--without-pip", str(folder))
    python = str(folder / "bin" / "python")
    layout.command(
        *(python, "-I", str(pip[0] / "pip"), "install", "--quiet", "--no-index", "--no-deps"),
        *("--no-cache-dir", "--disable-pip-version-check", "--root-user-action=ignore"),
        *("--no-warn-script-location", *map(str, paths)),
        timeout_s=_PIP_TIMEOUT_S,
    )
    layout.command(python, "-I", "-m", "pip", "check", "--disable-pip-version-check")
    layout.command(str(folder / "bin" / "pi-cluster"), "--version")
    _world_readable(folder)
    os.sync()
    files.write(folder / _MARKER, json.dumps(wheels).encode())
    return True


def switch(cluster: str, digest: str) -> None:
    """Have ``current`` name this environment."""
    folder = layout.environment(cluster, digest)
    if not (folder / _MARKER).is_file():
        raise Failure(f"{folder} is not complete")
    files.link(layout.current(cluster), folder.name)


def tidy(cluster: str, digest: str, wheels: list[dict[str, Any]]) -> None:
    """Remove what a finished installation does not need: older environments, other wheels."""
    used = layout.environment(cluster, digest)
    for folder in layout.programs(cluster).glob("venv-*"):
        if folder != used:
            files.remove(folder)
    needed = {wheel["sha256"] for wheel in wheels}
    for folder in layout.WHEELS.glob("*"):
        if folder.name not in needed:
            files.remove(folder)


def _world_readable(folder: Path) -> None:
    """The service is another user's, and root's umask may be a strict one."""
    for path in [folder.parent.parent, folder.parent, folder]:
        path.chmod(0o755)
    for name, folders, names in os.walk(folder):
        for each in [*folders, *names]:
            path = Path(name) / each
            if not path.is_symlink():
                with contextlib.suppress(FileNotFoundError):
                    path.chmod(path.stat().st_mode | (0o755 if path.is_dir() else 0o444))

"""A host from which somebody asks: the command for everybody, a grant for the user who logs in."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from pi_cluster.deploy.hosts.remote import files, layout
from pi_cluster.deploy.hosts.remote.layout import Failure, command

COMMAND = Path("/usr/local/bin/pi-cluster")

_MAX_RECORD = 1 << 22


def offer(cluster: str) -> None:
    """Have the command be found by everybody. Raises ``Failure`` when another one is there."""
    if COMMAND.exists() and not COMMAND.is_symlink():
        raise Failure(f"{COMMAND} is somebody else's: move it away")
    files.link(COMMAND, str(layout.current(cluster) / "bin" / "pi-cluster"))


def withdraw(cluster: str) -> None:
    """Remove the command, if it is this cluster's."""
    if COMMAND.is_symlink():
        target = os.readlink(COMMAND)  # noqa: PTH115  # Path.readlink needs Python 3.9
        if target.startswith(f"{layout.programs(cluster)}/"):
            files.remove(COMMAND)


def known_record(cluster: str, name: str) -> str:
    """SHA-256 of what this user knows of the pipeline; empty without a record or credentials.

    ``name`` is the record's file name.
    """
    paths = layout.user_folders(cluster)
    if not (paths.config / "coordinator.pem").is_file():
        return ""
    data = files.read(paths.state / layout.file_name(name), _MAX_RECORD)
    return "" if data is None else hashlib.sha256(data.encode()).hexdigest()


def accept(cluster: str, grant: str) -> None:
    """Take up a grant as this user."""
    python = str(layout.current(cluster) / "bin" / "python")
    command(python, "-P", "-m", "pi_cluster.deploy", "accept", "/dev/stdin", stdin=grant)


def forget(cluster: str) -> None:
    """Remove this user's grant and record."""
    paths = layout.user_folders(cluster)
    if (paths.config / "operator.pem").exists():
        return  # this user operates the cluster from here
    for folder in paths:
        files.remove(folder)
        files.remove_if_empty(folder.parent)

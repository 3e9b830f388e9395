"""Removing everything again."""

from __future__ import annotations

import contextlib
import pwd

from pi_cluster.deploy.hosts.remote import coordinator_host, files, layout
from pi_cluster.deploy.hosts.remote.layout import command


def purge(cluster: str, data_parent: str) -> None:
    """Remove a cluster's service, program and data; with the last one, all that they shared."""
    remove_worker(cluster, data_parent)
    coordinator_host.withdraw(cluster)
    files.remove(layout.programs(cluster))
    remove_shared()


def remove_worker(cluster: str, data_parent: str) -> None:
    """Stop and remove a cluster's service, and all that its worker kept."""
    unit = layout.unit_name(cluster)
    if layout.unit_file(cluster).exists():
        command("systemctl", "disable", "--quiet", "--now", unit)
        files.remove(layout.unit_file(cluster))
        command("systemctl", "daemon-reload")
        layout.run(["systemctl", "reset-failed", unit])
    # Where systemd keeps the runtime and temporary folders of a service that was killed.
    files.remove(layout.UNITS / f"{unit}.d")
    files.remove(layout.data(cluster, data_parent))


def remove_shared() -> None:
    """Remove what clusters share, unless one of them has a service or a program here."""
    if any(layout.UNITS.glob("pi-cluster-*.service")) or any(layout.PROGRAMS.glob("*/current")):
        return
    files.remove(layout.LOCKS)
    files.remove(layout.PROGRAMS)
    files.remove(layout.WHEELS.parent)
    files.remove_if_empty(layout.DEFAULT_DATA)
    with contextlib.suppress(KeyError):
        pwd.getpwnam(layout.SYSTEM_USER)
        command("userdel", layout.SYSTEM_USER)

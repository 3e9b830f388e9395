"""The worker's service: its user, its folder, its systemd unit, and how it is."""

from __future__ import annotations

import contextlib
import os
import pwd
from pathlib import Path
from typing import Any

from pi_cluster.deploy.hosts.remote import files, layout
from pi_cluster.deploy.hosts.remote.layout import Failure, command

_JOURNAL_LINES = 12
_MAX_TEXT = 1 << 16
_MAX_SERVICES = 32
_QUESTION_S = 10
_JOURNAL_S = 60  # a long journal on a slow card


def prepare_user() -> None:
    """Have the system user, who cannot log in, exist."""
    with contextlib.suppress(KeyError):
        pwd.getpwnam(layout.SYSTEM_USER)
        return
    command(
        *("useradd", "--system", "--user-group", "--no-create-home"),
        *("--home-dir", str(layout.DEFAULT_DATA), "--shell", "/usr/sbin/nologin"),
        layout.SYSTEM_USER,
    )


def prepare_data(cluster: str, data_parent: str) -> None:
    """Have the node's folder exist and be the system user's alone."""
    folder = layout.data(cluster, data_parent)
    user = pwd.getpwnam(layout.SYSTEM_USER)
    if not folder.parent.exists():
        folder.parent.mkdir(parents=True)
        folder.parent.chmod(0o755)
    if folder.is_symlink():
        raise Failure(f"{folder} is a link: name a data directory that is none")
    folder.mkdir(exist_ok=True)
    if folder.stat().st_uid != user.pw_uid:
        # The user was made anew, as when the system card was flashed and the disk kept.
        own_data(cluster, data_parent)
    folder.chmod(0o700)


def own_data(cluster: str, data_parent: str) -> None:
    """Give all of the node's folder to the system user."""
    folder = layout.data(cluster, data_parent)
    user = pwd.getpwnam(layout.SYSTEM_USER)
    for name, folders, names in os.walk(folder):
        for each in [*folders, *names]:
            os.chown(Path(name) / each, user.pw_uid, user.pw_gid, follow_symlinks=False)
    os.chown(folder, user.pw_uid, user.pw_gid)


def write_unit(cluster: str, unit: str) -> bool:
    """Write the unit; returns whether it was another one."""
    path = layout.unit_file(cluster)
    if files.read(path, _MAX_TEXT) == unit:
        return False
    files.write(path, unit.encode())
    command("systemctl", "daemon-reload")
    return True


def start(cluster: str, anew: bool) -> None:
    """Have the service run, now and after each boot; ``anew`` when what it runs has changed."""
    unit = layout.unit_name(cluster)
    # The names by which systemd enables it are links, which a power cut may have eaten.
    command("systemctl", "enable", "--quiet", unit)
    layout.run(["systemctl", "reset-failed", unit])
    command("systemctl", "restart" if anew else "start", unit)


def as_service(cluster: str, words: list[str], stdin: str) -> str:
    """What the installed program prints, run as the system user, with files for it alone."""
    python = str(layout.current(cluster) / "bin" / "python")
    before = os.umask(0o077)
    try:
        return command(*become_user(), python, "-P", *words, stdin=stdin)
    finally:
        os.umask(before)


def become_user() -> list[str]:
    """The words before a command that is to run as the system user."""
    return ["runuser", "-u", layout.SYSTEM_USER, "--"]


def health(cluster: str) -> dict[str, Any]:
    """How the service is, and its last lines."""
    unit = layout.unit_name(cluster)
    names = "ActiveState,SubState,NRestarts,Result,ExecMainStatus"
    shown = command("systemctl", "show", unit, "--property", names)
    values = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    return {
        "is_active": values.get("ActiveState") == "active",
        "restarts": int(values.get("NRestarts") or 0),
        "state": f"{values.get('ActiveState')} ({values.get('SubState')})",
    }


def others(cluster: str) -> list[dict[str, str]]:
    """Workers of other clusters that run here, or will after the next boot: name and unit."""
    units = sorted(layout.UNITS.glob("pi-cluster-*.service"))[:_MAX_SERVICES]
    return [
        {"name": unit.name, "unit": files.read(unit, _MAX_TEXT) or ""}
        for unit in units
        if unit != layout.unit_file(cluster) and (is_active(unit.name) or is_enabled(unit.name))
    ]


def is_active(unit: str) -> bool:
    """Whether it runs."""
    return _says("is-active", unit) == "active"


def is_enabled(unit: str) -> bool:
    """Whether it will run after the next boot."""
    return _says("is-enabled", unit) == "enabled"


def _says(question: str, unit: str) -> str:
    try:
        return layout.run(["systemctl", question, unit], timeout_s=_QUESTION_S).stdout.strip()
    except Failure:
        return ""


def journal(cluster: str) -> list[str]:
    """The last lines that the service has logged, or why they cannot be told."""
    words = ["journalctl", "--unit", layout.unit_name(cluster), "--no-pager", "--quiet"]
    words += ["--output", "cat", "--lines", str(_JOURNAL_LINES)]
    try:
        return layout.run(words, timeout_s=_JOURNAL_S).stdout.splitlines()
    except Failure as failure:
        return [str(failure)]  # whoever asks has something to tell that matters more

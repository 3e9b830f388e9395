"""What a host is, told by whoever may log in; judged by `deploy/hosts/fitness.py`."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import struct
import sys
import time
from pathlib import Path
from typing import Any

from pi_cluster.deploy.hosts.remote import files, layout, worker_service

_MAX_TEXT = 1 << 16
_ROOT = Path("/")
# soc/soc:firmware on a Pi 4, soc@107c000000/soc@107c000000:firmware on a Pi 5.
_THROTTLED = "sys/devices/platform/soc*/soc*:firmware/get_throttled"
_FLAGS = 1 << 32
_SUDO_TIMEOUT_S = 30
_QUESTION_S = 5


def facts(cluster: str, data_parent: str) -> dict[str, Any]:
    """Everything that decides whether and how this host is set up.

    What this host does not tell is left empty: whether it must be known is judged elsewhere.
    """
    data = layout.data(cluster, data_parent)
    return {
        "system": _system(),
        "machine": platform.machine(),
        "pointer_bits": 8 * struct.calcsize("P"),
        "python": list(sys.version_info[:3]),
        "implementation": platform.python_implementation(),
        "glibc": _glibc(),
        "memory_bytes": _memory_bytes(),
        "disks": {
            "program": _disk(layout.PROGRAMS),
            "wheels": _disk(layout.WHEELS),
            "data": _disk(data),
        },
        "clock_unix_s": time.time(),
        "throttled": throttled(),
        "has_systemd": Path("/run/systemd/system").is_dir(),
        "is_root": os.geteuid() == 0,
        "addresses": _addresses(),
        "installed": _installed(cluster),
        "other_services": worker_service.others(cluster),
    }


def sudo(password: str | None) -> str:
    """Whether sudo lets this user do everything: ``free``, ``password``, ``wrong`` or ``none``.

    The password, if one is given, is tried, and on sudo's standard input only.
    """
    if shutil.which("sudo") is None:
        return "none"
    # -k: what somebody has typed in another terminal must not decide.
    if _accepts(["sudo", "-k", "-n", "true"], ""):
        return "free"
    if password is None:
        return "password"
    accepted = _accepts(["sudo", "-k", "-S", "-p", "", "true"], password + "\n")
    return "password" if accepted else "wrong"


def _accepts(words: list[str], stdin: str) -> bool:
    return layout.run(words, stdin, _SUDO_TIMEOUT_S).returncode == 0


def _system() -> str:
    for line in (files.read(Path("/etc/os-release"), _MAX_TEXT) or "").splitlines():
        name, _, value = line.partition("=")
        if name == "PRETTY_NAME":
            return value.strip().strip('"')
    return platform.system()


def _memory_bytes() -> int | None:
    """Of the whole machine."""
    for line in (files.read(Path("/proc/meminfo"), _MAX_TEXT) or "").splitlines():
        name, _, amount = line.partition(":")
        if name == "MemTotal":
            with contextlib.suppress(ValueError, IndexError):
                return int(amount.split()[0]) << 10
    return None


def _glibc() -> list[int] | None:
    """Of which version the system's C library is; None where it is another one."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
        if name == "glibc":
            return [int(part) for part in version.split(".")[:2]]
    return None


def _disk(path: Path) -> dict[str, int]:
    """The file system that a folder is on, or will be, as far as this user may look."""
    while True:
        try:
            room = os.statvfs(str(path))
            return {"device": path.stat().st_dev, "free_bytes": room.f_bavail * room.f_frsize}
        except OSError:
            if path == path.parent:
                raise
            path = path.parent


def throttled(root: Path = _ROOT) -> int | None:
    """The firmware's flags; None where nothing tells, as on what is no Raspberry Pi."""
    shown = [files.read(path, 100) for path in sorted(root.glob(_THROTTLED))]
    said = [text for text in shown if text]
    if not said and shutil.which("vcgencmd"):
        with contextlib.suppress(layout.Failure):
            answer = layout.run(["vcgencmd", "get_throttled"], timeout_s=_QUESTION_S)
            said.append(answer.stdout.partition("=")[2])
    for text in said:
        with contextlib.suppress(ValueError):
            flags = int(text, 16)
            if 0 <= flags < _FLAGS:
                return flags
    return None


def _addresses() -> list[str]:
    """Where others may reach this host; first where the operator did just now."""
    found = []
    words = os.environ.get("SSH_CONNECTION", "").split()
    if len(words) == 4:
        found.append(words[2])
    with contextlib.suppress(layout.Failure):
        found += layout.command("hostname", "-I", timeout_s=_QUESTION_S).split()
    return list(dict.fromkeys(found))


def _installed(cluster: str) -> dict[str, Any]:
    """What an earlier run left here."""
    receipt: Any = {}
    with contextlib.suppress(ValueError, RecursionError):
        receipt = json.loads(files.read(layout.receipt(cluster), _MAX_TEXT) or "{}")
    unit = layout.unit_name(cluster)
    return {
        "receipt": receipt if isinstance(receipt, dict) else {},
        "environment": _target(layout.current(cluster)),
        "unit": files.read(layout.unit_file(cluster), _MAX_TEXT) or "",
        "is_active": worker_service.is_active(unit),
        "is_enabled": worker_service.is_enabled(unit),
    }


def _target(link: Path) -> str:
    """Where a link leads; empty where there is none that this user may see."""
    # An installation that was broken off may have left a folder that only root may look into.
    with contextlib.suppress(OSError):
        return os.readlink(str(link))  # noqa: PTH115  # Path.readlink needs Python 3.9
    return ""

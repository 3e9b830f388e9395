"""The software below a worker: operating system, Python, and how pi-cluster was installed."""

import os
import platform
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from pi_cluster.worker.machine.system_files import ROOT, read_text

_MAX_NAME = 100


def system(root: Path = ROOT) -> str:
    """The operating system's name for people, as in ``Debian GNU/Linux 12 (bookworm)``."""
    for place in ("etc/os-release", "usr/lib/os-release"):
        for line in (read_text(root / place) or "").splitlines():
            key, _, value = line.partition("=")
            if key == "PRETTY_NAME":
                return value.strip("\"' ")[:_MAX_NAME]
    return ""


def linux_release() -> str:
    """The release of the kernel of the operating system."""
    return os.uname().release[:_MAX_NAME]


def architecture() -> str:
    """As ``uname -m`` tells it. A 64-bit kernel may carry a 32-bit system: see :func:`wheel`."""
    return os.uname().machine[:_MAX_NAME]


def python() -> str:
    """The version of Python that runs this worker."""
    return platform.python_version()


def wheel() -> str:
    """The tag of the wheel that was installed, as in ``py3-none-linux_aarch64``; else empty."""
    try:
        metadata = distribution("pi-cluster").read_text("WHEEL") or ""
    except PackageNotFoundError:
        return ""
    tags = [line.partition(":")[2].strip() for line in metadata.splitlines() if line[:4] == "Tag:"]
    return tags[0][:_MAX_NAME] if tags else ""

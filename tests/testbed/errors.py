"""What a machine may lack."""

import os
import shutil
from pathlib import Path

_PACKAGES = {
    "mmdebstrap": "mmdebstrap",
    "nsenter": "util-linux",
    "qemu-aarch64-static": "qemu-user-static",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "systemd-nspawn": "systemd-container",
    "unshare": "util-linux",
}


class TestbedError(Exception):
    """There can be no such test bed here, or a host of it does not do what it should.

    The message names what is missing, and the next step.
    """

    __test__ = False  # for pytest, which would take it for a class of tests


def need_root() -> None:
    """Raises ``TestbedError`` unless this process is root."""
    if os.geteuid():
        raise TestbedError("the test bed makes namespaces and mounts: run the tests with sudo")


def need_tools(*names: str) -> None:
    """Raises ``TestbedError`` naming the first of these programs that is not installed."""
    for name in names:
        if shutil.which(name) is None:
            raise TestbedError(f"the test bed needs {name}: apt install {_PACKAGES[name]}")


def need_overlays() -> None:
    """Raises ``TestbedError`` unless the kernel can lay one file system over another."""
    if "\toverlay\n" not in Path("/proc/filesystems").read_text():
        raise TestbedError("the test bed needs overlay file systems: modprobe overlay")

"""Lets the kernel start aarch64 programs by qemu, as Debian's packages do at boot."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.testbed.errors import TestbedError, need_root, need_tools

_FOLDER = Path("/proc/sys/fs/binfmt_misc")
_RULE = _FOLDER / "qemu-aarch64"
_RULE_FILE = Path("/usr/lib/binfmt.d/qemu-aarch64.conf")


@contextmanager
def aarch64_programs() -> Iterator[None]:
    """While the block runs, aarch64 programs can be started on this machine, also in a chroot.

    Raises ``TestbedError`` when the kernel or a package lacks what this needs.
    """
    need_root()
    need_tools("qemu-aarch64-static")
    with _mounted(), _registered():
        yield


@contextmanager
def _mounted() -> Iterator[None]:
    if (_FOLDER / "register").exists():
        yield
        return
    command = ["mount", "-t", "binfmt_misc", "binfmt_misc", str(_FOLDER)]
    if subprocess.run(command, stderr=subprocess.DEVNULL).returncode:
        raise TestbedError("the kernel cannot start foreign programs: modprobe binfmt_misc")
    try:
        yield
    finally:
        subprocess.run(["umount", str(_FOLDER)], check=True)


@contextmanager
def _registered() -> Iterator[None]:
    if _RULE.exists():
        # Without F, qemu would be looked for in the chroot, where it is not.
        if not any("F" in line for line in _RULE.read_text().splitlines() if "flags" in line):
            raise TestbedError(
                f"{_RULE} is not made for a chroot: apt install qemu-user-static, or remove the "
                "rule by writing -1 to it"
            )
        yield
        return
    if not _RULE_FILE.exists():
        raise TestbedError(f"{_RULE_FILE} is missing: apt install qemu-user-static")
    (_FOLDER / "register").write_text(_RULE_FILE.read_text().strip())
    try:
        yield
    finally:
        _RULE.write_text("-1")

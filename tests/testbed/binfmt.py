"""Lets the kernel start aarch64 programs by qemu, as Debian's packages do at boot."""

import fcntl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from pi_cluster.cluster.settings import folders
from tests.testbed.errors import TestbedError, need_root, need_tools

_FOLDER = Path("/proc/sys/fs/binfmt_misc")
_RULE = _FOLDER / "qemu-aarch64"
_RULE_FILE = Path("/usr/lib/binfmt.d/qemu-aarch64.conf")


@contextmanager
def aarch64_programs() -> Iterator[None]:
    """While the block runs, aarch64 programs can be started on this machine, also in a chroot.

    The rule is the whole machine's. The last process that needs it takes back what the first has
    done, or what one that was killed has left. Raises ``TestbedError`` when the kernel or a
    package lacks what this needs.
    """
    need_root()
    need_tools("qemu-aarch64-static")
    cache = folders().cache / "testbed"
    cache.mkdir(parents=True, exist_ok=True)
    # The first is held while the rule is made or removed; the second, shared, by all that need it.
    with (cache / "binfmt.lock").open("w") as changing, (cache / "binfmt.done").open("a+") as done:
        with _locked(changing):
            _mount(done)
            _register(done)
            fcntl.flock(done, fcntl.LOCK_SH)
        try:
            yield
        finally:
            with _locked(changing):
                _undo_if_last(done)


@contextmanager
def _locked(file: TextIO) -> Iterator[None]:
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)


def _mount(done: TextIO) -> None:
    """Source of this and the rule: the kernel's admin-guide/binfmt-misc."""
    if (_FOLDER / "register").exists():
        return
    command = ["mount", "-t", "binfmt_misc", "binfmt_misc", str(_FOLDER)]
    if subprocess.run(command, stderr=subprocess.DEVNULL).returncode:
        raise TestbedError("the kernel cannot start foreign programs: modprobe binfmt_misc")
    print("mounted", file=done, flush=True)


def _register(done: TextIO) -> None:
    if _RULE.exists():
        # Without F, qemu would be looked for in the chroot, where it is not.
        flags = next(line for line in _RULE.read_text().splitlines() if line.startswith("flags"))
        if "F" not in flags:
            raise TestbedError(
                f"{_RULE} is not made for a chroot: apt install qemu-user-static, or remove the "
                "rule by writing -1 to it"
            )
        return
    if not _RULE_FILE.exists():
        raise TestbedError(f"{_RULE_FILE} is missing: apt install qemu-user-static")
    (_FOLDER / "register").write_text(_RULE_FILE.read_text().strip())
    print("registered", file=done, flush=True)


def _undo_if_last(done: TextIO) -> None:
    """Undo the steps that ``done`` lists, unless another process still holds it."""
    try:
        fcntl.flock(done, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        fcntl.flock(done, fcntl.LOCK_UN)
        return
    done.seek(0)
    steps = done.read().split()
    if "registered" in steps and _RULE.exists():
        _RULE.write_text("-1")
    if "mounted" in steps and (_FOLDER / "register").exists():
        subprocess.run(["umount", str(_FOLDER)], check=True)
    done.truncate(0)

"""The clock: whether somebody keeps it right, how long the machine is up, and how busy."""

import ctypes
import os
from pathlib import Path

from pi_cluster.worker.machine.system_files import ROOT, read_text

_UNSYNCHRONISED = 0x40  # STA_UNSYNC of adjtimex(2)
_ERROR_STATE = 5  # TIME_ERROR of adjtimex(2): the clock is not synchronised


class _Adjustment(ctypes.Structure):
    """The beginning of adjtimex(2)'s ``struct timex``, and room for the rest of it."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("frequency", ctypes.c_long),
        ("maximum_error", ctypes.c_long),
        ("estimated_error", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


def is_synchronised(root: Path = ROOT) -> bool | None:
    """Whether a time service keeps the clock right; None where that cannot be known."""
    service = root / "run/systemd/timesync"  # of systemd-timesyncd, which Raspberry Pi OS has
    try:
        if service.is_dir():
            return (service / "synchronized").exists()
    except OSError:
        return None
    if _calls_are_filtered(root):
        return None
    return _linux_says_synchronised()


def uptime_s(root: Path = ROOT) -> float:
    """Seconds since the machine started; 0 where it does not tell."""
    try:
        return float((read_text(root / "proc/uptime") or "").split()[0])
    except (IndexError, ValueError):
        return 0.0


def load() -> float:
    """Processes that wanted to run, on average over the last minute."""
    try:
        return os.getloadavg()[0]
    except OSError:
        return 0.0


def _calls_are_filtered(root: Path) -> bool:
    """Whether a filter watches our system calls: a hardened service may be killed for adjtimex."""
    lines = (read_text(root / "proc/self/status") or "").splitlines()
    modes = [line.split()[-1] for line in lines if line.startswith("Seccomp:")]
    return modes != ["0"]


def _linux_says_synchronised() -> bool | None:
    adjustment = _Adjustment(modes=0)  # no mode: it only tells
    state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(adjustment))
    if state < 0:
        return None
    return state != _ERROR_STATE and not adjustment.status & _UNSYNCHRONISED

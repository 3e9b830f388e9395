"""Python starts with this where it is on the path: makes this machine one that it is not.

``HIDDEN`` names what is taken away: ``kernels`` for the compiled library, ``linux`` for what a Mac
does not have. The packages of others stay those of Linux, so they are imported before.
"""

import os
import sys
from pathlib import PurePath

_ABSENT = {
    "os": (
        *("sched_getaffinity", "sched_setaffinity", "sched_getparam", "sched_setscheduler"),
        *("posix_fadvise", "posix_fallocate", "fdatasync", "preadv", "pwritev", "memfd_create"),
        *("eventfd", "pidfd_open", "splice", "copy_file_range", "getresuid", "getxattr"),
        *("O_DIRECT", "O_NOATIME", "O_PATH", "getrandom"),
    ),
    "signal": ("sigtimedwait", "sigwaitinfo"),
    "select": ("epoll",),
    "socket": (
        *("AF_NETLINK", "AF_PACKET", "SO_BINDTODEVICE", "TCP_KEEPIDLE", "TCP_USER_TIMEOUT"),
        *("IP_RECVERR", "SO_REUSEPORT_LB", "SO_PEERCRED"),
    ),
    "mmap": ("MADV_REMOVE", "MADV_DONTFORK", "MADV_HUGEPAGE", "MAP_POPULATE", "MAP_LOCKED"),
}
_MODULES = ("spwd", "ossaudiodev", "_posixshmem")
_FOLDERS = ("/proc", "/sys", "/run/systemd")
_KERNELS = "libkernels."
_READERS = ("psutil", "ifaddr")  # have a way of their own on a Mac


def _hide_linux() -> None:
    import platform

    import grpc  # noqa: F401
    import ifaddr  # noqa: F401
    import numpy  # noqa: F401
    import psutil  # noqa: F401
    import zeroconf  # noqa: F401

    for module, names in _ABSENT.items():
        loaded = __import__(module)
        for name in names:
            if hasattr(loaded, name):
                delattr(loaded, name)
    for module in _MODULES:
        sys.modules[module] = None
    sys.platform = "darwin"
    platform.system = lambda: "Darwin"
    platform.machine = lambda: "arm64"


def _is_hidden(path: object, hidden: set[str]) -> bool:
    if not isinstance(path, str | os.PathLike):
        return False
    name = os.fspath(path)
    if not isinstance(name, str):
        return False
    if "kernels" in hidden and PurePath(name).name.startswith(_KERNELS):
        return True
    return "linux" in hidden and name.startswith(_FOLDERS) and not _asked_by_others()


def _asked_by_others() -> bool:
    frame = sys._getframe(2)
    while frame:
        if frame.f_globals.get("__name__", "").startswith(_READERS):
            return True
        frame = frame.f_back
    return False


def _hide_files(hidden: set[str]) -> None:
    stat, events = os.stat, ("open", "os.listdir", "os.scandir", "ctypes.dlopen")

    def look(event: str, arguments: tuple[object, ...]) -> None:
        if event in events and arguments and _is_hidden(arguments[0], hidden):
            raise FileNotFoundError(2, "hidden by the test", str(arguments[0]))

    def hiding_stat(path, *arguments, **options):
        if _is_hidden(path, hidden):
            raise FileNotFoundError(2, "hidden by the test", str(path))
        return stat(path, *arguments, **options)

    sys.addaudithook(look)
    os.stat = hiding_stat


_hidden = set(os.environ.get("HIDDEN", "").split(","))
if "linux" in _hidden:
    _hide_linux()
_hide_files(_hidden)

"""What the operating system's refusals mean: what it refused, why, and what to do about it."""

import errno
import os

from pi_cluster.cluster.errors import SystemFailure

_MAKE_ROOM = "make room on {machine}, then run the same command again"
_MAY_NOT = (
    "let this user have it (`ls -ld` shows whose it is), or name a folder of your own: "
    "XDG_CONFIG_HOME, XDG_STATE_HOME, XDG_DATA_HOME and XDG_CACHE_HOME say where files go"
)
_NEXT_STEP = {
    errno.ENOSPC: _MAKE_ROOM,
    errno.EDQUOT: _MAKE_ROOM,
    errno.EFBIG: _MAKE_ROOM,
    errno.EROFS: (
        "the file system is mounted read-only on {machine}, as systems do with a failing SD card "
        "or after a power cut: look at `dmesg` there, start it anew, and replace the card if it "
        "stays so"
    ),
    errno.EIO: (
        "the disk of {machine} fails: look at `dmesg` there, and replace the SD card or disk"
    ),
    errno.EACCES: _MAY_NOT,
    errno.EPERM: _MAY_NOT,
    errno.ENAMETOOLONG: "give it a shorter name",
    errno.ENOTDIR: "something that is no folder stands in its way: name another place",
    errno.EISDIR: "a folder stands there: name a file",
    errno.ENOENT: "see that it exists and is spelt right",
    errno.EBADF: "it is closed: open it, or send it to a file",
    errno.EMFILE: "too many files are open: allow more with `ulimit -n`",
    errno.ENFILE: "too many files are open on {machine}: end other programs there",
    errno.ENOMEM: "{machine} is out of memory: end other programs there",
}
_ANYTHING_ELSE = "see that {machine} can do this, then run the same command again"


def next_step(error: OSError, machine: str = "this machine") -> str:
    """What to do about a refusal of the system of ``machine``."""
    return _NEXT_STEP.get(error.errno or 0, _ANYTHING_ELSE).format(machine=machine)


def system_failure(
    error: OSError, machine: str = "this machine", what: object = None
) -> SystemFailure:
    """A refusal by the system of ``machine`` as an error with the reason and the next step.

    ``what`` names the file where the system does not, as in a read that fails midway.
    """
    named = error.filename if what is None else what
    named = os.fsdecode(named) if isinstance(named, bytes) else str(named or "")
    reason = error.strerror or str(error) or type(error).__name__
    told = f"{named}: {reason}" if named else reason
    return SystemFailure(f"{told}: {next_step(error, machine)}")

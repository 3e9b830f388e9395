"""Standard input, output and error as the caller left them: closed, full, or in another encoding.

A closed descriptor is dangerous: the next file or connection gets its number, and what is printed
goes into that. So closed ones are held. What standard error does not take is dropped, since there
is nobody left to tell; what standard output does not take is a failure, because answers go there.
"""

import io
import os
import sys

from pi_cluster.cluster.errors import SystemFailure
from pi_cluster.cluster.system_failure import next_step

_INPUT, _OUTPUT, _ERROR = 0, 1, 2


def prepare_standard_streams() -> None:
    """Make the three streams safe to use; call it before anything is opened."""
    # Used in the wrong direction, these fail with "Bad file descriptor", as a closed one does.
    for descriptor, mode in ((_INPUT, os.O_WRONLY), (_OUTPUT, os.O_RDONLY), (_ERROR, os.O_WRONLY)):
        if not _is_open(descriptor):
            # The lowest free number is the one that is given out.
            os.open(os.devnull, mode)
    if sys.stdin is None:
        sys.stdin = io.TextIOWrapper(io.BufferedReader(_Input()), errors="surrogateescape")
    encoding = getattr(sys.stdout, "encoding", None)
    sys.stdout = _writer(_Output(_OUTPUT, "w", closefd=False), encoding, "replace")
    encoding = getattr(sys.stderr, "encoding", None)
    sys.stderr = _writer(_Notes(_ERROR, "w", closefd=False), encoding, "backslashreplace")


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _writer(raw: io.FileIO, encoding: str | None, errors: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=encoding, errors=errors, line_buffering=True
    )


class _Input(io.FileIO):
    """A standard input that was closed: reading says so."""

    def __init__(self) -> None:
        super().__init__(_INPUT, "r", closefd=False)

    def readinto(self, buffer: object, /) -> int:  # noqa: ARG002
        raise SystemFailure("standard input is closed: give the text as an argument")


class _Output(io.FileIO):
    """Standard output. Its first failure says which stream failed; what follows is dropped."""

    _has_failed = False

    def write(self, data: object, /) -> int:
        if self._has_failed:
            return len(data)  # type: ignore[arg-type]
        try:
            return super().write(data)  # type: ignore[arg-type]
        except OSError as error:
            self._has_failed = True
            if isinstance(error, BrokenPipeError):
                raise  # whoever read it has seen enough
            raise SystemFailure(
                f"cannot write to standard output: {error.strerror}: {next_step(error)}"
            ) from None


class _Notes(io.FileIO):
    """Standard error; what it does not take is gone."""

    def write(self, data: object, /) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]
        except OSError:
            return len(data)  # type: ignore[arg-type]

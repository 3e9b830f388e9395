"""Standard input, output and error as the caller left them: closed, full, or in another encoding.

A closed descriptor is dangerous: the next file or connection gets its number, and what is printed
goes into that. So closed ones are held. What standard error does not take is dropped, since there
is nobody left to tell; what standard output does not take is a failure, because answers go there.
"""

import contextlib
import io
import os
import sys
from collections.abc import Iterator

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
    sys.stdout = _over(_OUTPUT, _Answers, getattr(sys.stdout, "encoding", None), "replace")
    sys.stderr = _over(_ERROR, _Notes, getattr(sys.stderr, "encoding", None), "backslashreplace")


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


class _Input(io.FileIO):
    """A standard input that was closed: reading says so."""

    def __init__(self) -> None:
        super().__init__(_INPUT, "r", closefd=False)

    def readinto(self, buffer: object, /) -> int:  # noqa: ARG002
        raise SystemFailure("standard input is closed: give the text as an argument")


class _Answers(io.TextIOWrapper):
    """Standard output. Its first failure says which stream failed; what follows is dropped.

    The failure is caught up here, above files that are Python's own. A `write` of ours below the
    buffer could be interrupted between what is written and its being counted, and it would be
    written again at the end.
    """

    def write(self, text: str, /) -> int:
        with _failing_once():
            return super().write(text)

    def flush(self) -> None:
        with _failing_once():
            super().flush()


@contextlib.contextmanager
def _failing_once() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        # What is still buffered goes where it can do no harm.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, _OUTPUT)
        os.close(nowhere)
        if isinstance(error, BrokenPipeError):
            raise  # whoever read it has seen enough
        raise SystemFailure(
            f"cannot write to standard output: {error.strerror}: {next_step(error)}"
        ) from None


class _Notes(io.TextIOWrapper):
    """Standard error; what it does not take is gone."""

    def write(self, text: str, /) -> int:
        with contextlib.suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            super().flush()


def _over(
    descriptor: int, kind: type[io.TextIOWrapper], encoding: str | None, errors: str
) -> io.TextIOWrapper:
    buffer = io.BufferedWriter(io.FileIO(descriptor, "w", closefd=False))
    return kind(buffer, encoding=encoding, errors=errors, line_buffering=True)

"""Standard error taken over: what others write to its descriptor comes here first, line by line.

That is gRPC above all, which is C and knows nothing of Python's logging.
"""

import contextlib
import io
import os
import threading
from collections.abc import Callable, Iterator
from typing import BinaryIO, TextIO

_MAX_LINE_BYTES = 4_096
_DRAIN_S = 2.0


@contextlib.contextmanager
def taken_over(on_line: Callable[[TextIO, str], None]) -> Iterator[TextIO]:
    """Yield standard error itself, for whoever took it over.

    ``on_line`` is given it too, with each line that others have written, on a thread.
    """
    read, write = os.pipe()
    # A log that nobody keeps up with loses lines. If writing blocked instead, whoever writes while
    # it keeps Python from running would wait for ever for the thread that reads.
    os.set_blocking(write, False)
    raw = io.BufferedWriter(_Dropping(_duplicate(2), "w"))
    with (
        io.TextIOWrapper(raw, "utf-8", errors="replace", line_buffering=True) as error,
        open(read, "rb") as pipe,  # noqa: PTH123
    ):
        os.dup2(write, 2)
        os.close(write)
        pump = threading.Thread(target=_pump, args=(pipe, error, on_line), name="log", daemon=True)
        pump.start()
        try:
            yield error
        finally:
            os.dup2(error.fileno(), 2)  # the last end of the pipe that is written to
            pump.join(_DRAIN_S)


@contextlib.contextmanager
def python_taken_over(on_line: Callable[[str], None]) -> Iterator[None]:
    """Within, what Python writes to `sys.stderr` goes to ``on_line``, on the thread that writes."""
    lines = _Lines(on_line)
    with contextlib.redirect_stderr(lines):
        try:
            yield
        finally:
            lines.write("\n")


class _Lines(io.TextIOBase):
    """Stands for `sys.stderr` where all lines are to be of one form; for any number of threads."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line = on_line
        self._lock = threading.Lock()
        self._begun = ""

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, text: str, /) -> int:
        """Take text; what has ended with a line break goes on."""
        with self._lock:
            *lines, self._begun = (self._begun + text).split("\n")
            if len(self._begun) > _MAX_LINE_BYTES:
                lines.append(self._begun)
                self._begun = ""
        for line in filter(str.strip, lines):
            self._on_line(line)
        return len(text)


class _Dropping(io.FileIO):
    """What the log does not take, as on a full disk, is gone: a worker does not end over that."""

    def write(self, data: object, /) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]
        except OSError:
            return len(data)  # type: ignore[arg-type]


def _duplicate(descriptor: int) -> int:
    try:
        return os.dup(descriptor)
    except OSError:  # it was closed
        return os.open(os.devnull, os.O_WRONLY)


def _pump(pipe: BinaryIO, error: TextIO, on_line: Callable[[TextIO, str], None]) -> None:
    while line := pipe.readline(_MAX_LINE_BYTES):
        on_line(error, line.decode(errors="replace").rstrip("\n"))

"""A log that strangers cannot fill: of lines of one kind a few a minute, then how many more came.

Lines are of one kind when they differ in numbers only, as in the port that somebody calls from.
What gRPC itself writes, which is C and knows nothing of Python's logging, goes the same way.
"""

import contextlib
import io
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, TextIO

from pi_cluster.cluster.shown import shown_line, shown_text

LINES_A_MINUTE = 10
WINDOW_S = 60.0

_MAX_KINDS = 128
_MAX_KIND_CHARACTERS = 300
_MAX_LINE_BYTES = 4_096
_DRAIN_S = 2.0
_OTHERS = "lines of other kinds"
_NUMBERS = re.compile(r"[0-9]+")
# As in "I1126 23:19:59.723459   26807 ssl_transport_security.cc:2563] Handshake failed...".
_OF_GRPC = re.compile(r"[IWEF][0-9]{4} [0-9:.]+ +[0-9]+ ")
_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


@dataclass(slots=True)
class _Kind:
    since_s: float
    written: int = 0
    left_out: int = 0


class LineLimit:
    """Decides which lines are written; ``tell`` is given a sentence about those that were not."""

    def __init__(
        self,
        tell: Callable[[str], None],
        lines: int = LINES_A_MINUTE,
        window_s: float = WINDOW_S,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tell = tell
        self._lines = lines
        self._window_s = window_s
        self._now = now
        self._lock = threading.Lock()
        self._kinds: dict[str, _Kind] = {}
        self._is_watched = False

    def admits(self, line: str) -> bool:
        """Whether this line is to be written."""
        name = _NUMBERS.sub("#", line[:_MAX_KIND_CHARACTERS])
        with self._lock:
            if name not in self._kinds and len(self._kinds) >= _MAX_KINDS:
                name = _OTHERS  # whoever can invent kinds gets one for all of them
            kind = self._kinds.setdefault(name, _Kind(self._now()))
            if not self._is_watched:
                self._is_watched = True
                self._watch()
            if kind.written < self._lines:
                kind.written += 1
                return True
            kind.left_out += 1
            return False

    def close_windows(self) -> None:
        """Tell of what was left out in windows that are over, and begin new ones."""
        over_s = self._now() - self._window_s
        with self._lock:
            over = {name: kind for name, kind in self._kinds.items() if kind.since_s <= over_s}
            for name in over:
                del self._kinds[name]
            self._is_watched = bool(self._kinds)
            if self._kinds:
                self._watch()
        for name, kind in over.items():
            if kind.left_out:
                self._tell(f"{kind.left_out} more lines in {self._window_s:g} s like: {name}")

    def _watch(self) -> None:
        timer = threading.Timer(self._window_s, self.close_windows)
        timer.daemon = True
        timer.start()


class _Formatter(logging.Formatter):
    """One line for a record, whatever strangers have put into it; a traceback keeps its own."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        record.message = shown_line(record.message)
        return super().formatMessage(record)

    def format(self, record: logging.LogRecord) -> str:
        return shown_text(super().format(record))


@contextlib.contextmanager
def limited_log(lines: int = LINES_A_MINUTE, window_s: float = WINDOW_S) -> Iterator[None]:
    """Python's log and gRPC's lines go to standard error within, limited and harmless.

    Where a log is set up already, as for ``--debug``, it is left alone.
    """
    root = logging.getLogger()
    if root.handlers:
        yield
        return
    with _standard_error() as (error, pipe):
        handler = logging.StreamHandler(error)
        handler.setFormatter(_Formatter(_FORMAT))
        limit = LineLimit(lambda text: handler.emit(_record(text)), lines, window_s)
        handler.addFilter(lambda record: limit.admits(record.getMessage()))
        root.addHandler(handler)
        root.setLevel(logging.INFO)
        pump = threading.Thread(target=_pump, args=(pipe, error, limit), name="log", daemon=True)
        pump.start()
        try:
            yield
        finally:
            root.removeHandler(handler)
            os.dup2(error.fileno(), 2)  # the last end of the pipe that is written to
            pump.join(_DRAIN_S)


@contextlib.contextmanager
def _standard_error() -> Iterator[tuple[TextIO, BinaryIO]]:
    """Standard error itself, for Python alone; and what others write to its descriptor."""
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
        with contextlib.redirect_stderr(error):
            yield error, pipe


def _record(text: str) -> logging.LogRecord:
    return logging.LogRecord(__name__, logging.WARNING, __file__, 0, text, None, None)


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


def _pump(pipe: BinaryIO, error: TextIO, limit: LineLimit) -> None:
    while line := pipe.readline(_MAX_LINE_BYTES):
        text = line.decode(errors="replace").rstrip("\n")
        begins = _OF_GRPC.match(text)
        if begins is None or limit.admits(text[begins.end() :]):
            _write(error, text)


def _write(error: TextIO, text: str) -> None:
    error.write(shown_line(text) + "\n")

"""A log that strangers cannot fill: of lines of one kind a few a minute, then how many more came.

Lines are of one kind when they differ in numbers only, as in the port that somebody calls from.
What gRPC itself writes, which is C and knows nothing of Python's logging, goes the same way.
"""

import contextlib
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TextIO

from pi_cluster.cluster.foreign_lines import OF_GRPC, foreign_line
from pi_cluster.cluster.log_lines import JsonLines, LogFormat, TextLines
from pi_cluster.cluster.standard_error import python_taken_over, taken_over

LINES_A_MINUTE = 10
WINDOW_S = 60.0

_MAX_KINDS = 128
_MAX_KIND_CHARACTERS = 300
_OTHERS = "lines of other kinds"
_NUMBERS = re.compile(r"[0-9]+")
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


@contextlib.contextmanager
def limited_log(
    form: LogFormat = LogFormat.TEXT,
    node: str = "",
    *,
    lines: int = LINES_A_MINUTE,
    window_s: float = WINDOW_S,
) -> Iterator[None]:
    """Python's log and gRPC's lines go to standard error within, limited and harmless.

    In JSON each line has the ``node``, and whatever else is written there becomes a line too. Where
    a log is set up already, as for ``--debug``, it is left alone.
    """
    root = logging.getLogger()
    if root.handlers:
        yield
        return
    is_json = form is LogFormat.JSON
    formatter = JsonLines({"node": node}) if is_json else TextLines(_FORMAT)
    limit = LineLimit(lambda text: handler.emit(_record(text)), lines, window_s)

    def pass_on(error: TextIO, line: str) -> None:
        begins = OF_GRPC.match(line)
        if begins is None or limit.admits(line[begins.end() :]):
            error.write(foreign_line(line, formatter))

    with taken_over(pass_on) as error:
        handler = logging.StreamHandler(error)
        handler.setFormatter(formatter)
        handler.addFilter(lambda record: limit.admits(record.getMessage()))
        root.addHandler(handler)
        root.setLevel(logging.INFO)
        of_python = lambda line: pass_on(error, line)  # noqa: E731
        python = python_taken_over(of_python) if is_json else contextlib.redirect_stderr(error)
        try:
            with python:
                yield
        finally:
            root.removeHandler(handler)


def _record(text: str) -> logging.LogRecord:
    return logging.LogRecord(__name__, logging.WARNING, __file__, 0, text, None, None)

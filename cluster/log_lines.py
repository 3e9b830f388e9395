"""How a record of the log is written: as a line for people, or as a JSON object for programs.

Either is harmless whatever strangers have put into it, as of `shown.py`.
"""

import json
import logging
import traceback
from collections.abc import Mapping
from enum import StrEnum
from types import TracebackType
from typing import Any

from pi_cluster.cluster.log_fields import FIELDS
from pi_cluster.cluster.shown import shown_line, shown_text

_MOST_CHARACTERS = 4_000  # of a message or a field
_MOST_PLACES = 20


class LogFormat(StrEnum):
    """How lines of a log are written."""

    TEXT = "text"
    JSON = "json"


class TextLines(logging.Formatter):
    """One line for a record; a traceback keeps its own."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        record.message = shown_line(record.message)
        return super().formatMessage(record)

    def format(self, record: logging.LogRecord) -> str:
        return shown_text(super().format(record))


class ReticentTextLines(TextLines):
    """Tells of an exception its kind and places: its message may have a text of somebody's."""

    def formatException(self, ei: Any) -> str:  # noqa: N802
        kind, _, places = ei
        return "\n".join([kind.__name__, *_places(places)])


class JsonLines(logging.Formatter):
    """One JSON object a line for a record: when, how grave, whose, what, and its `LogFields`.

    Of an exception it has kind and places, and its message where those are no texts of users.
    """

    def __init__(self, always: Mapping[str, str] | None = None, *, reticent: bool = False) -> None:
        """``always`` are fields of every line. ``reticent``: exceptions may have users' texts."""
        super().__init__()
        self._always = dict(always or {})
        self._reticent = reticent

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        values: dict[str, Any] = {
            "unix_s": round(record.created, 6),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage()[:_MOST_CHARACTERS],
        }
        values |= self._always
        for name in FIELDS:
            value = record.__dict__.get(name)
            if value is not None:
                values[name] = value[:_MOST_CHARACTERS] if isinstance(value, str) else value
        if record.exc_info and record.exc_info[0] and record.exc_info[1]:
            kind, error, places = record.exc_info
            values |= {"error": kind.__name__, "places": _places(places)}
            if not self._reticent:
                values["reason"] = str(error)[:_MOST_CHARACTERS]
        # What `shown_line` writes out within a string, it writes as JSON does.
        return shown_line(json.dumps(values, ensure_ascii=False))


def _places(places: TracebackType | None) -> list[str]:
    """The innermost places of a traceback, without the source that stands there."""
    frames = traceback.extract_tb(places)[-_MOST_PLACES:]
    return [f"{one.filename}:{one.lineno} in {one.name}" for one in frames]

"""Lines of others among our log: of gRPC, of C libraries, of whatever prints to standard error."""

import logging
import re

from pi_cluster.cluster.log_lines import JsonLines
from pi_cluster.cluster.shown import shown_line

OF_GRPC = re.compile(r"([IWEF])[0-9]{4} [0-9:.]+ +[0-9]+ ")
"""As in "I1126 23:19:59.723459   26807 ssl_transport_security.cc:2563] Handshake failed..."."""
_LEVELS = {"I": logging.INFO, "W": logging.WARNING, "E": logging.ERROR, "F": logging.CRITICAL}


def foreign_line(line: str, formatter: logging.Formatter) -> str:
    """A line of others as it stands in a log of that form, with its end."""
    if isinstance(formatter, JsonLines):
        return formatter.format(_record(line)) + "\n"
    return shown_line(line) + "\n"


def _record(line: str) -> logging.LogRecord:
    if begins := OF_GRPC.match(line):
        return _made("grpc", _LEVELS[begins[1]], line[begins.end() :])
    return _made("stderr", logging.INFO, line)


def _made(logger: str, level: int, line: str) -> logging.LogRecord:
    return logging.LogRecord(logger, level, "", 0, "%s", (line,), None)

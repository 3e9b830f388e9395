"""A server's log, on standard error: a line for each request, and what became of the pipeline.

Neither messages of exceptions nor bodies are in it, which may have texts of users.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import TextIO

from pi_cluster.cluster.foreign_lines import foreign_line
from pi_cluster.cluster.log_lines import JsonLines, LogFormat, ReticentTextLines
from pi_cluster.cluster.standard_error import python_taken_over, taken_over
from pi_cluster.deploy.screen.output import notice

log = logging.getLogger(__name__)

_FORMAT = "%(asctime)s %(message)s"
_LEVELS = {"pi_cluster": logging.INFO, "uvicorn": logging.ERROR}


@contextlib.contextmanager
def server_log(form: LogFormat) -> Iterator[None]:
    """Log within. In JSON each line is an object, also of what others write there."""
    if form is LogFormat.TEXT:
        handler = logging.StreamHandler()
        handler.setFormatter(ReticentTextLines(_FORMAT))
        with _logging_to(handler):
            yield
        return
    formatter = JsonLines(reticent=True)

    def pass_on(error: TextIO, line: str) -> None:
        error.write(foreign_line(line, formatter))

    with taken_over(pass_on) as error, python_taken_over(lambda line: pass_on(error, line)):
        handler = logging.StreamHandler(error)
        handler.setFormatter(formatter)
        with _logging_to(handler):
            yield


def notices(form: LogFormat) -> Callable[[str], None]:
    """How whoever runs the server is told what goes on meanwhile: a line as all others are."""
    return notice if form is LogFormat.TEXT else lambda sentence: log.info("%s", sentence)


@contextlib.contextmanager
def _logging_to(handler: logging.Handler) -> Iterator[None]:
    root = logging.getLogger()
    for name, level in _LEVELS.items():
        logging.getLogger(name).setLevel(level)
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)

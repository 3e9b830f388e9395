"""One line a request, without a text: who asked for what, how it ended and how long it took."""

import logging
import time

from pi_cluster.cluster.log_fields import LogFields
from pi_cluster.cluster.shown import shown_line
from pi_cluster.server.asking.visit import Visit

log = logging.getLogger(__name__)

_LONGEST_PATH = 120
_QUIET = frozenset({"/health", "/metrics"})  # asked every few seconds, for ever


def write_line(visit: Visit) -> None:
    """Log a request that has ended."""
    if visit.path not in _QUIET or visit.status >= 400:
        log.info("%s", line_of(visit), extra=_fields(visit))


def line_of(visit: Visit) -> str:
    """What is logged of a request. Queries and bodies, where texts are, are not in it."""
    words = [
        visit.client or "local",
        visit.asker or "-",
        visit.method,
        visit.path[:_LONGEST_PATH],
        str(visit.status or "-"),
        f"{_seconds(visit):.3f}s",
    ]
    if visit.has_asked:
        words.append(f"{visit.prompt_tokens}+{visit.generated_tokens} tokens")
    if visit.finish:
        words.append(visit.finish)
    return shown_line(" ".join(words))


def _fields(visit: Visit) -> LogFields:
    fields = LogFields(
        caller=visit.client or "local",
        method=visit.method,
        path=visit.path[:_LONGEST_PATH],
        status=visit.status,
        seconds=round(_seconds(visit), 3),
    )
    if visit.asker:
        fields["asker"] = visit.asker
    if visit.has_asked:
        fields["prompt_tokens"] = visit.prompt_tokens
        fields["generated_tokens"] = visit.generated_tokens
    if visit.finish:
        fields["finish"] = visit.finish
    return fields


def _seconds(visit: Visit) -> float:
    return time.monotonic() - visit.began_s

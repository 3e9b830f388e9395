"""Faults of ours in the log: where they happened, and none of what was asked."""

import logging
import traceback

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from pi_cluster.cluster.errors import ClusterError
from pi_cluster.server.http.refusal import Refusal
from pi_cluster.transformer.errors import ModelError

log = logging.getLogger(__name__)

_MOST_PLACES = 20
_TOLD = (Refusal, HTTPException, ClientDisconnect, ClusterError, ModelError)


def log_fault(error: Exception) -> None:
    """Log an error that is none of our own kinds; its message may have a text of somebody's."""
    if isinstance(error, _TOLD):
        return
    places = traceback.format_tb(error.__traceback__)[-_MOST_PLACES:]
    log.error("a fault of the server: %s\n%s", type(error).__name__, "".join(places))

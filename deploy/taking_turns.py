"""A command that changes a cluster waits for whoever is at it: another command, or a mend."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pi_cluster.cluster.errors import BeingChanged
from pi_cluster.coordinator.records.kept_record import changing
from pi_cluster.deploy.screen import output

WAIT_S = 600.0
"""For somebody else's turn. A mend takes seconds, an `up` that sends shards minutes."""
_TOLD_AFTER_S = 1.0  # shorter turns need no line
_PAUSE_S = 0.1


@contextmanager
def in_turn(cluster: str, wait_s: float = WAIT_S) -> Iterator[Path]:
    """As `changing`, once nobody else changes the cluster; it is told what is waited for.

    Raises ``BeingChanged`` where somebody still does after ``wait_s`` seconds.
    """
    with ExitStack() as turn:
        yield _wait_for(turn, cluster, wait_s)


def _wait_for(turn: ExitStack, cluster: str, wait_s: float) -> Path:
    began_s = time.monotonic()
    is_told = False
    while True:
        try:
            return turn.enter_context(changing(cluster))
        except BeingChanged as error:
            waited_s = time.monotonic() - began_s
            if waited_s >= wait_s:
                raise BeingChanged(
                    f"{error}, also after {wait_s:g} s: run this again once it ends"
                ) from None
            if waited_s >= _TOLD_AFTER_S and not is_told:
                output.notice(f"{error}: waiting up to {wait_s / 60:g} minutes for it")
                is_told = True
        time.sleep(_PAUSE_S)

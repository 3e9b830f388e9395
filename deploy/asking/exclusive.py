"""The pipeline to oneself while a server runs here that would ask it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pi_cluster.cluster.errors import PipelineBusy, StateError
from pi_cluster.deploy.asking.server_link import link_to_local_server
from pi_cluster.deploy.screen.output import notice

_TELL_AFTER_S = 0.5


@contextmanager
def server_held(cluster: str, wait_s: float) -> Iterator[None]:
    """While the block runs, a server of this machine holds back whoever asks it.

    Answers under way end first, for which this waits up to ``wait_s`` seconds; then it raises
    ``PipelineBusy``. The server goes on when the block ends, or this program does.
    """
    link = link_to_local_server(cluster)
    if link is None:
        yield
        return
    with link.streaming("/cluster/v1/exclusive", {}) as lines:
        _wait_until_alone(lines, wait_s)
        yield


def _wait_until_alone(lines: Iterator[dict[str, Any]], wait_s: float) -> None:
    began_s, has_told = time.monotonic(), False
    for line in lines:
        if line.get("alone"):
            return
        waited_s = time.monotonic() - began_s
        if waited_s > wait_s:
            raise PipelineBusy(
                f"the server here still answers others, also after {wait_s:.0f} s: run this again "
                "when they have finished, or give a longer --wait"
            )
        if not has_told and waited_s > _TELL_AFTER_S:
            has_told = True
            notice("the server here is answering others: waiting for it to finish")
    raise StateError("the server here ended meanwhile: run the same command again")

"""A server as people start it: `pi-cluster serve` beside a cluster, at a port the system chose."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from tests.support.cluster_process import Cluster, Running, eventually

_ADDRESS = re.compile(r"serving on (https?://(\S+):(\d+))")
_PATIENCE_S = 40.0


@dataclass(frozen=True, slots=True)
class Server:
    """A server that takes requests."""

    cluster: Cluster
    running: Running
    url: str
    """Without a slash at its end."""
    host: str
    port: int

    @property
    def process_id(self) -> int:
        """Of the server's own process."""
        return self.running.process.pid


@contextmanager
def serving(cluster: Cluster, *words: str) -> Iterator[Server]:
    """``pi-cluster serve --port 0 WORDS``, from its first request on to the end of the block."""
    running = cluster.start("serve", "--port", "0", *words)
    try:
        yield _ready(cluster, running)
    finally:
        running.stop()


def kept_waiting(server: Server, words: Sequence[str], within_s: float = 10.0) -> Running:
    """A prompt that is held back because another program has the pipeline, or soon will."""
    while True:
        running = server.cluster.start(*words)
        eventually(partial(_is_held_or_done, running), bool, within_s)
        if running.process.poll() is None:
            return running


def _is_held_or_done(running: Running) -> bool:
    return "to itself" in running.error_text or running.process.poll() is not None


def _ready(cluster: Cluster, running: Running) -> Server:
    def look() -> re.Match[str] | None:
        said = _ADDRESS.search(running.error_text)
        assert said or running.process.poll() is None, running.error_text
        return said

    said = eventually(look, bool, _PATIENCE_S)
    return Server(cluster, running, said[1], said[2].strip("[]"), int(said[3]))

"""How many requests there are."""

from collections.abc import Iterable
from dataclasses import dataclass

from pi_cluster.server.asking.visit import Visit


@dataclass(frozen=True, slots=True)
class Headcount:
    """Requests that asked the pipeline and have not ended; each is one of the two."""

    running: int
    """The model reads them, or their answers grow."""
    waiting: int
    """For their turn, for another program to finish, or for the pipeline to come back."""


def headcount(visits: Iterable[Visit]) -> Headcount:
    """Count those that are here now."""
    waits = [visit.waits() for visit in visits if visit.has_asked]
    return Headcount(waits.count(False), waits.count(True))

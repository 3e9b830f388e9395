"""Answers under way, written down so that a restarted server can go on with them."""

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from pi_cluster.cluster.errors import ClusterError, KeptNowhere, ShardDamaged
from pi_cluster.coordinator.keeping.entry import JournalEntry
from pi_cluster.coordinator.keeping.journal import Bounds, Journal, KeptAnswer
from pi_cluster.coordinator.keeping.what_was_asked import Asking
from pi_cluster.server.keys import server_folder

log = logging.getLogger(__name__)

# More than can be under way and wait, so that none is dropped before its asker is back. Many never
# come back, as they have asked anew, and the texts are other people's.
_BOUNDS = Bounds(answers=128, total_bytes=64 << 20, age_s=86_400.0)


def journal_of(cluster: str) -> Journal:
    """Where the servers of a cluster keep what they answer, on this machine."""
    return Journal(server_folder(cluster) / "journal", _BOUNDS)


class Keeper:
    """Writes answers down on one thread, in the order in which they grow."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._writing = ThreadPoolExecutor(1, "journal")
        self._taking = threading.Lock()
        """Held by who looks, which would keep others from what they `resume`."""
        self.is_stopping = False
        """Whether what is not at its end waits for the next server."""

    def begin(self, asking: Asking) -> "Kept | None":
        """Keep an answer that is about to begin; None where that cannot be. Not for the loop."""
        entry = self._journal.begin(asking)
        return Kept(self, entry) if entry else None

    def resume(self, name: str, asker: str | None) -> "Kept":
        """Go on with what another server has left. Not for the loop.

        Raises ``KeptNowhere`` where ``asker`` has no such answer; None may have everybody's.
        """
        with self._taking, suppress(KeptNowhere):  # its message names those of others
            entry = self._journal.resume(name)
            if _is_of(entry.asking, asker):
                return Kept(self, entry)
            entry.leave()
        raise KeptNowhere(f"no unfinished answer {name!r:.40} can be gone on with here: ask anew")

    def look(self, asker: str | None) -> list[KeptAnswer]:
        """The answers of ``asker``, or with None of everybody. Not for the loop."""
        with self._taking:
            found = self._journal.look()
        return [one for one in found if _is_of(one.asking, asker)]

    def tidy(self) -> None:
        """Drop what has been kept for long enough. Not for the loop."""
        try:
            self._journal.tidy()
        except OSError as error:
            log.warning("unfinished answers cannot be looked through: %s", error)

    def write(self, work: Callable[[], None]) -> None:
        """Have it done behind what was to be written before."""
        with suppress(RuntimeError):  # it is closed, and the process ends, which leaves all files
            self._writing.submit(work)

    def stop(self) -> None:
        """From now on, answers that end without their end are left for the next server."""
        self.is_stopping = True

    def close(self) -> None:
        """Write what is still to be written, and no more."""
        self._writing.shutdown(wait=True)


@dataclass(slots=True, eq=False)
class Kept:
    """One answer; used by the event loop alone, which waits for no disk."""

    keeper: Keeper
    entry: JournalEntry
    _count: int = 0
    _is_over: bool = False

    @property
    def has_grown(self) -> bool:
        """Whether there is anything to go on with that could not be asked anew as well."""
        return bool(self._count or self.entry.ids)

    @property
    def begun(self) -> list[int]:
        """What is known of the answer, but for the last id: that one is computed again.

        With it the text might be at its end, of which nothing is written down. An answer with
        log-probabilities is computed from its beginning, as those are not written down either.
        """
        return [] if self.entry.asking.keywords.get("logprobs") is not None else self.entry.ids[:-1]

    def keep(self, token: int) -> None:
        """The answer behind ``begun`` has grown; what is known already comes once more."""
        known = len(self.entry.ids) - len(self.begun)
        self._count += 1
        if self._count > known:
            self.keeper.write(partial(self.entry.keep, token))

    def close(self, *, is_left: bool) -> None:
        """Leave it for whoever goes on with it, or keep nothing of it. The first call counts."""
        if not self._is_over:
            self._is_over = True
            self.keeper.write(self.entry.leave if is_left else self.entry.end)


class KeptReply:
    """What is kept of the answers to one request."""

    def __init__(self, keeper: Keeper | None, kept: Sequence[Kept | None]) -> None:
        self._keeper, self._kept = keeper, kept
        self._failure: ClusterError | None = None

    @property
    def name(self) -> str:
        """Of the first answer; empty where it is not kept."""
        return self._kept[0].entry.name if self._kept and self._kept[0] else ""

    def ended(self, choice: int) -> None:
        """An answer is complete."""
        if kept := self._kept[choice]:
            kept.close(is_left=False)

    def failed(self, error: ClusterError) -> None:
        """The pipeline could not end them."""
        self._failure = error

    def close(self) -> None:
        """Nobody reads on. What the pipeline or the server could not end is left for the next."""
        for kept in self._kept:
            if kept:
                kept.close(is_left=self._is_left(kept))

    def _is_left(self, kept: Kept) -> bool:
        if isinstance(self._failure, ShardDamaged):
            return False  # a part of it may have come of the damage
        is_stopping = self._keeper is not None and self._keeper.is_stopping
        return is_stopping or (self._failure is not None and kept.has_grown)


def _is_of(asking: Asking, asker: str | None) -> bool:
    return asker is None or asking.keywords.get("asker", "") == asker

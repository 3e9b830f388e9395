"""Requests as other threads see them: they come in, wait, and are cancelled at any moment."""

import threading
import time
from collections.abc import Iterable

from pi_cluster.cluster.errors import QueueFull
from pi_cluster.coordinator.generation import Generation
from pi_cluster.coordinator.scheduling.expected_wait import HeldPlaces
from pi_cluster.coordinator.scheduling.turns import Turns
from pi_cluster.coordinator.standing import Held, Waiting


class Requests:
    """Those that wait for their place in the caches, and since when others have theirs.

    Any thread may `add`, `cancel` and ask for a `standing`; all else is the scheduler's, on its own
    thread.
    """

    def __init__(self, most: int) -> None:
        """``most`` may wait at once."""
        self._most = most
        self._lock = threading.Lock()
        self._turns = Turns[Generation]()
        # None: to be found anew, as somebody has come or gone.
        self._first: Generation | None = None
        self._positions: dict[Generation, int] | None = None
        self._began_s: dict[Generation, float] = {}
        self._held = HeldPlaces()
        self._cancelled: set[Generation] = set()
        self._failure: Exception | None = None
        self._held_back = ""

    @property
    def failure(self) -> Exception | None:
        """Why none are taken any more; None while they are."""
        with self._lock:
            return self._failure

    @property
    def waiting(self) -> int:
        """How many wait."""
        with self._lock:
            return len(self._turns)

    @property
    def running(self) -> int:
        """How many have their places."""
        with self._lock:
            return len(self._began_s)

    @property
    def expected_wait_s(self) -> float | None:
        """How long one would wait who came now; None while nothing is known of it."""
        with self._lock:
            waiting = len(self._turns)
            return self._held.expected_wait_s(waiting, len(self._began_s)) if waiting else 0.0

    def add(self, generation: Generation, *, had_place: bool = False) -> None:
        """Let one wait. Raises ``QueueFull`` when too many do, and the failure after the end.

        One that ``had_place`` in a session before, or in this one, is never one too many.
        """
        with self._lock:
            if self._failure:
                raise self._failure
            if not had_place:
                self._check_room()
            self._turns.add(generation.options.asker, generation)
            self._first = self._positions = None

    def check_room(self) -> None:
        """Raises ``QueueFull`` when `add` would."""
        with self._lock:
            self._check_room()

    def cancel(self, generation: Generation) -> None:
        """Have one end as soon as the scheduler looks."""
        with self._lock:
            self._cancelled.add(generation)

    def hold_back(self, reason: str) -> None:
        """Nobody is let in for a reason, a sentence, from now on; for none, they are again."""
        self._held_back = reason

    def standing(self, generation: Generation) -> Waiting | Held | None:
        """How long one still has to wait, or for what; None if it does not."""
        with self._lock:
            if self._positions is None:
                self._positions = {one: n for n, one in enumerate(self._turns.order())}
            position = self._positions.get(generation)
            if position is None:
                return None
            if self._held_back:
                return Held(self._held_back)
            places = len(self._began_s)
            return Waiting(position, self._held.expected_wait_s(position, places))

    @property
    def first(self) -> Generation | None:
        """Whose turn it is."""
        if not len(self._turns):  # who comes at this moment wakes the scheduler
            return None
        with self._lock:
            if self._first is None:
                self._first = self._turns.first
            return self._first

    def let_in(self, generation: Generation) -> None:
        """One that was the `first` waits no more, even if another has come before it since."""
        with self._lock:
            let_in = self._turns.let_in(generation.options.asker)
            assert let_in is generation, "only the first of an asker is let in"
            self._began_s[generation] = time.monotonic()
            self._first = self._positions = None

    def leave(self, generation: Generation) -> None:
        """One that was let in has ended."""
        with self._lock:
            self._held.add(time.monotonic() - self._began_s.pop(generation))
            self._turns.leave(generation.options.asker)
            self._first = self._positions = None

    def take_cancelled(self) -> tuple[set[Generation], list[Generation]]:
        """All that were cancelled since the last time, and those of them that waited here."""
        if not self._cancelled:  # as above
            return set(), []
        with self._lock:
            cancelled, self._cancelled = self._cancelled, set()
            waited = [one for one in cancelled if self._turns.give_up(one.options.asker, one)]
            self._first = self._positions = None
        return cancelled, waited

    def end(self, failure: Exception) -> Iterable[Generation]:
        """Take no more; returns those that waited."""
        with self._lock:
            self._failure = failure
            self._first = self._positions = None
            return self._turns.clear()

    def _check_room(self) -> None:
        if len(self._turns) >= self._most:
            raise QueueFull(
                f"{len(self._turns)} requests wait for the pipeline already: try again later",
                self._held.expected_wait_s(0, len(self._began_s)),
            )

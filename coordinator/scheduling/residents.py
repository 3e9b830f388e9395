"""Whose caches the stages hold: who may come in, what is kept, and whose beginning is shared.

The stages refuse what does not fit; here it is decided so that they never have to.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from pi_cluster.coordinator.scheduling.cache_limits import CacheLimits
from pi_cluster.coordinator.scheduling.sequence import SequenceState
from pi_cluster.coordinator.scheduling.worth import (
    Resident,
    Worth,
    by_worth,
    most_worth_for,
    worth_of,
)
from pi_cluster.transformer.errors import StepError

LEAST_SHARED = 16  # positions: fewer are as soon computed again


@dataclass(frozen=True, slots=True)
class Placement:
    """A sequence's place in the caches."""

    state: SequenceState
    evicted: list[int] = field(default_factory=list)
    """Numbers of sequences that must be ended first."""


class Residents:
    """Bookkeeping of all sequences that the stages hold."""

    def __init__(self, limits: CacheLimits, *, reuse: bool) -> None:
        self._limits = limits
        self._reuse = reuse
        self._last_number = 0
        self._all: dict[int, Resident] = {}  # the least recently used first

    @property
    def positions_used(self) -> int:
        """Positions of all sequences, also of those that are kept; any thread may ask."""
        return sum(resident.positions for resident in tuple(self._all.values()))

    def place(
        self,
        prompt: Sequence[int],
        most_positions: int,
        candidates: int,
        *,
        one_off: bool = False,
        is_shared: bool = True,
    ) -> Placement | None:
        """Let a text in that may grow to ``most_positions``; None while there is no room.

        It begins with what the stages hold of its prompt already: by going on with a finished
        text, or by copying the beginning of one that others still need. What is ``one_off`` takes
        over a chat only where it finds no other room but a chat's, and no other like it is there to
        wait for: many of them together cost no more chats than one. What is not ``is_shared`` is
        computed from its first position on.
        """
        needed = self._limits.tiles(most_positions)
        source, shared = self._longest_shared(prompt) if is_shared else (None, 0)
        worth = worth_of(source, shared, one_off=one_off)
        is_free = source is not None and not source.is_active
        goes_on = is_free and source is not None and shared == source.state.confirmed
        most_worth = most_worth_for(self._all.values(), one_off=one_off)
        evicted: list[int] | None = None
        if not goes_on:
            evicted = self._make_room(needed, source, most_worth)
        elif one_off:
            evicted = self._make_room(needed, source, Worth.ONE_OFF)
        if evicted is None and is_free and source is not None and source.worth <= most_worth:
            if goes_on:
                worth = max(worth, source.worth)
            return self._take_over(
                source, prompt, shared, most_positions, candidates, worth, most_worth
            )
        if evicted is None:
            return None
        self._last_number += 1
        # A copy is not confirmed before its first chunk is back: while that is on its way it may
        # be superseded, and some stages then hold nothing under this number.
        state = SequenceState(
            self._last_number,
            list(prompt),
            candidates,
            prefix_of=source.state.number if source else 0,
            sent=shared,
            shared=shared,
            most_positions=most_positions,
            most_guesses=self._limits.most_guesses,
            inherited=source.state.reached if source else 0,
        )
        self._all[state.number] = Resident(state, needed, len(prompt), worth)
        return Placement(state, evicted)

    def check(self, state: SequenceState, rows: int) -> None:
        """Raise ``StepError`` if the stages would refuse the sequence's next ``rows`` ids.

        They refuse a step as a whole, and with it the session: what is wrong with one text must be
        found before it travels with others.
        """
        start, stop = state.sent, state.sent + rows
        if stop > state.most_positions:
            raise StepError(
                f"the text would reach {stop} positions; {state.most_positions} are reserved for it"
            )
        if not self._limits.can_shorten(state.reached, start):
            raise StepError(
                f"the text cannot go on at position {start}: its caches have held "
                f"{state.reached}, and some that it must see there have been overwritten"
            )

    def finish(self, state: SequenceState) -> bool:
        """A text has ended; whether its caches are kept for one that goes on with it."""
        if not self._reuse or state.confirmed < LEAST_SHARED:
            self.drop(state)
            return False
        resident = self._all.pop(state.number)
        del state.text[state.confirmed :]
        resident.is_active = False
        resident.positions = self._limits.tiles(state.most_sent)
        self._all[state.number] = resident
        return True

    def let_go(self) -> list[int]:
        """Keep no text that has ended; the numbers of those that were, to be ended."""
        kept = [number for number, resident in self._all.items() if not resident.is_active]
        for number in kept:
            del self._all[number]
        return kept

    def drop(self, state: SequenceState) -> None:
        """A text has ended, and the stages are told to free its caches."""
        del self._all[state.number]

    def _take_over(
        self,
        source: Resident,
        prompt: Sequence[int],
        shared: int,
        most_positions: int,
        candidates: int,
        worth: Worth,
        most_worth: Worth,
    ) -> Placement | None:
        # The stages hold all of the old text until a chunk of the new one has reached each of
        # them, so what it takes up is not free before.
        needed = max(self._limits.tiles(most_positions), source.positions)
        evicted = self._make_room(needed - source.positions, source, most_worth, sequences=0)
        if evicted is None:
            return None
        old = source.state
        state = SequenceState(
            old.number,
            list(prompt),
            candidates,
            sent=shared,
            confirmed=shared,
            shared=shared,
            most_positions=most_positions,
            most_guesses=self._limits.most_guesses,
            inherited=old.inherited,
        )
        state.most_sent = old.most_sent
        self.drop(old)
        self._all[state.number] = Resident(state, needed, len(prompt), worth)
        return Placement(state, evicted)

    def _longest_shared(self, prompt: Sequence[int]) -> tuple[Resident | None, int]:
        """Who shares most of the prompt's beginning. Its last id is always computed anew."""
        best, most = None, LEAST_SHARED - 1
        for resident in self._all.values() if self._reuse else ():
            state = resident.state
            reach = min(state.confirmed, len(prompt) - 1)
            shared = _common_length(state.text, prompt, reach)
            if shared > most and self._limits.can_shorten(state.reached, shared):
                best, most = resident, shared
        return best, most if best else 0

    def _make_room(
        self,
        needed: int,
        spared: Resident | None,
        most_worth: Worth,
        sequences: int = 1,
    ) -> list[int] | None:
        """Numbers of kept sequences to end, the least worth first; None if not enough."""
        free = self._limits.cache_positions - self.positions_used
        places = self._limits.max_sequences - len(self._all)
        evicted: list[int] = []
        if needed > free or sequences > places:
            kept = reversed(self._all.values())
            for resident in by_worth(kept, most_worth, self._limits.cache_positions):
                if resident is not spared:
                    evicted.append(resident.state.number)
                    free += resident.positions
                    places += 1
                if needed <= free and sequences <= places:
                    break
        if needed > free or sequences > places:
            return None
        for number in evicted:
            del self._all[number]
        return evicted


def _common_length(one: Sequence[int], other: Sequence[int], most: int) -> int:
    """Length of the common beginning, at most ``most``."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        # Slices compare much faster than a loop does.
        low, high = (middle, high) if one[low:middle] == other[low:middle] else (low, middle - 1)
    return low

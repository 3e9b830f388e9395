"""Whose caches the stages hold: who may come in, what is kept, and whose beginning is shared.

The stages refuse what does not fit; here it is decided so that they never have to.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from pi_cluster.coordinator.scheduling.sequence import SequenceState
from pi_cluster.transformer.cache import (
    CacheRoom,
    cache_rooms,
    largest_capacity,
    reached_slots,
)
from pi_cluster.transformer.config import ModelConfig
from pi_cluster.transformer.errors import PromptTooLong, StepError
from pi_cluster.transformer.limits import Limits

LEAST_SHARED = 16  # positions: fewer are as soon computed again


@dataclass(frozen=True, slots=True)
class CacheLimits:
    """What the caches of every stage have room for; see ``transformer.limits.Limits``.

    ``capacity`` is that of the layer that has the most. ``rolling`` are the layers, those alike
    once, whose caches texts wrap around.
    """

    max_sequences: int
    cache_positions: int
    capacity: int
    rolling: tuple[CacheRoom, ...]
    max_step_rows: int

    @classmethod
    def of(cls, config: ModelConfig, limits: Limits) -> Self:
        """Those of a pipeline that was loaded with ``limits``."""
        capacity = largest_capacity(config, limits)
        # Without a window somewhere, no text is longer than that: what is as large never wraps.
        never = config.widest_window is None
        return cls(
            limits.max_sequences,
            limits.cache_positions,
            capacity,
            tuple(
                room
                for room in dict.fromkeys(cache_rooms(config, limits))
                if not (never and room.capacity == capacity)
            ),
            limits.max_step_rows,
        )

    def tiles(self, positions: int) -> int:
        """Positions that a text of this length takes up."""
        return reached_slots(positions, self.capacity)

    def can_shorten(self, length: int, to: int) -> bool:
        """Whether a cache of ``length`` still holds all that position ``to`` will see."""
        return all(length <= room.capacity or length - to <= _slack(room) for room in self.rolling)

    @property
    def most_guesses(self) -> int:
        """Positions by which every cache can go back; if none wraps, as far as one likes."""
        return min(map(_slack, self.rolling), default=self.capacity)

    def check_room(self, positions: int) -> None:
        """Raise ``PromptTooLong`` for a text that could never be let in, however long it waits."""
        if self.tiles(positions) > self.cache_positions:
            raise PromptTooLong(
                f"the text may take {self.tiles(positions)} positions and the caches have "
                f"{self.cache_positions}: ask for fewer tokens, or bring the pipeline up "
                "with a larger --texts"
            )


def _slack(room: CacheRoom) -> int:
    """Positions that a cache holds beyond those that its layer sees."""
    return room.capacity - (room.window or 0)


@dataclass(slots=True)
class _Resident:
    state: SequenceState
    positions: int
    """Counted against the limits."""
    is_active: bool = True


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
        self._all: dict[int, _Resident] = {}  # the least recently used first

    def place(
        self, prompt: Sequence[int], most_positions: int, candidates: int
    ) -> Placement | None:
        """Let a text in that may grow to ``most_positions``; None while there is no room.

        It begins with what the stages hold of its prompt already: by going on with a finished
        text, or by copying the beginning of one that others still need.
        """
        needed = self._limits.tiles(most_positions)
        source, shared = self._longest_shared(prompt)
        if source and not source.is_active and shared == source.state.confirmed:
            return self._take_over(source, prompt, shared, most_positions, candidates)
        evicted = self._make_room(needed, source)
        if evicted is None and source and not source.is_active:
            return self._take_over(source, prompt, shared, most_positions, candidates)
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
            most_positions=most_positions,
            most_guesses=self._limits.most_guesses,
            inherited=source.state.reached if source else 0,
        )
        self._all[state.number] = _Resident(state, needed)
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

    def drop(self, state: SequenceState) -> None:
        """A text has ended, and the stages are told to free its caches."""
        del self._all[state.number]

    def _take_over(
        self,
        source: _Resident,
        prompt: Sequence[int],
        shared: int,
        most_positions: int,
        candidates: int,
    ) -> Placement | None:
        # The stages hold all of the old text until a chunk of the new one has reached each of
        # them, so what it takes up is not free before.
        needed = max(self._limits.tiles(most_positions), source.positions)
        evicted = self._make_room(needed - source.positions, source, sequences=0)
        if evicted is None:
            return None
        old = source.state
        state = SequenceState(
            old.number,
            list(prompt),
            candidates,
            sent=shared,
            confirmed=shared,
            most_positions=most_positions,
            most_guesses=self._limits.most_guesses,
            inherited=old.inherited,
        )
        state.most_sent = old.most_sent
        self.drop(old)
        self._all[state.number] = _Resident(state, needed)
        return Placement(state, evicted)

    def _longest_shared(self, prompt: Sequence[int]) -> tuple[_Resident | None, int]:
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
        self, needed: int, spared: _Resident | None, sequences: int = 1
    ) -> list[int] | None:
        """Numbers of kept sequences to end, the least recently used first; None if not enough."""
        free = self._limits.cache_positions - sum(r.positions for r in self._all.values())
        places = self._limits.max_sequences - len(self._all)
        evicted: list[int] = []
        for number, resident in self._all.items():
            if needed <= free and sequences <= places:
                break
            if not resident.is_active and resident is not spared:
                evicted.append(number)
                free += resident.positions
                places += 1
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

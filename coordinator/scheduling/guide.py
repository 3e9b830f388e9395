"""A text's constraint beside its guesses: what may follow each row, and which guesses may."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pi_cluster.cluster.errors import NodeError
from pi_cluster.coordinator.constraint import Constraint
from pi_cluster.transformer.allowed import fitted, holds, is_empty, only
from pi_cluster.transformer.errors import ConstraintError


@dataclass(frozen=True, slots=True)
class _Next:
    """What may come at one position."""

    allowed: bytes = b""
    """Empty: everything."""
    forced: Sequence[int] = ()
    """What comes there and behind it for certain."""


class Guide:
    """Follows a text that must keep to a constraint.

    The constraint stands behind the last guess; `_next` has what may come in the place of each
    guess, and behind the last one. With nothing guessed, that is one entry, or none before somebody
    asked.
    """

    def __init__(self, constraint: Constraint, vocab_size: int, end_ids: Collection[int]) -> None:
        self._constraint = constraint
        self._vocab_size = vocab_size
        self._end_ids = end_ids
        self._next: list[_Next] = []
        self._guesses = 0
        self._generated = 0

    @property
    def is_finished(self) -> bool:
        """Whether the text can only end now. Not asked while anything is guessed."""
        return not self._guesses and self._constraint.is_finished

    @property
    def forced(self) -> Sequence[int]:
        """What follows the certain text for certain."""
        return self._first().forced

    @property
    def forced_ahead(self) -> Sequence[int]:
        """What follows the last guess for certain, if that is right."""
        self._first()
        return self._next[-1].forced

    @property
    def likely_ahead(self) -> Sequence[int]:
        """What may be worth a guess behind the last one."""
        return () if self._constraint.is_finished else self._constraint.likely()

    def allowed(self, start: int, rows: int) -> Sequence[bytes]:
        """What may follow so many rows, of which the first has ``start`` guesses before its end.

        No entry at all where everything may follow all of them.
        """
        self._first()
        sets = [one.allowed for one in self._next[start : start + rows]]
        assert len(sets) == rows, "a row of which nothing is known"
        return sets if any(sets) else ()

    def accept(self, token: int) -> None:
        """The text goes on with an id that takes the place of all guesses."""
        self._check(token)
        if self._guesses:
            self._constraint.rollback(self._guesses)
            self._guesses = 0
        self._constraint.accept(token)
        self._next.clear()
        self._generated += 1

    def accept_guess(self) -> None:
        """The text goes on with the first guess."""
        del self._next[0]
        self._guesses -= 1
        self._generated += 1

    def follow(self, guesses: Sequence[int]) -> int:
        """How many of these may follow the guesses before, and are followed."""
        self._first()
        for count, token in enumerate(guesses):
            is_end = token in self._end_ids or self._constraint.is_finished
            if is_end or not self._allows(self._next[-1], token):
                return count
            self._constraint.accept(token)
            try:
                after = self._look()
            except ConstraintError:  # a dead end, which the text itself may never reach
                self._constraint.rollback(1)
                return count
            self._guesses += 1
            self._next.append(after)
        return len(guesses)

    def _first(self) -> _Next:
        if not self._next:
            self._next.append(self._look())
        return self._next[0]

    def _look(self) -> _Next:
        """Ask the constraint what may come where it stands."""
        if self._constraint.is_finished:
            return _Next()  # the text ends there: nobody looks at what else might come
        if forced := self._constraint.forced():
            return _Next(only(forced[0], self._vocab_size), forced)
        mask = self._constraint.mask()
        if mask is None:
            return _Next()
        allowed = fitted(mask, self._vocab_size)
        if is_empty(allowed, self._vocab_size):
            raise ConstraintError(
                "what the answer must keep to, a schema or a grammar, allows no token after "
                f"{self._generated} of them: loosen it"
            )
        return _Next(allowed)

    def _allows(self, place: _Next, token: int) -> bool:
        return not place.allowed or holds(place.allowed, token)

    def _check(self, token: int) -> None:
        if not self._allows(self._first(), token):
            raise NodeError(
                f"the last stage answered with token {token}, which was not allowed there"
            )

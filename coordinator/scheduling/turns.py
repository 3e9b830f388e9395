"""Whose turn it is among those that wait: fair between askers, in order within each. Pure."""

import collections
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Turns(Generic[T]):
    """Who waits, and how many of each asker have been let in and not left since.

    The next is of the asker who has the fewest in. Of several it is the one who was served longest
    ago, which has them take turns: an asker who has none in is passed by each other at most once,
    however much the others ask. Whose turn it is keeps it while there is no room, and is passed
    then only by one of an asker who has fewer in.
    """

    def __init__(self) -> None:
        # Those who were served last stand behind.
        self._lines: dict[str, collections.deque[T]] = {}
        self._in: collections.Counter[str] = collections.Counter()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, asker: str, one: T) -> None:
        """Wait behind the others of the same asker."""
        self._lines.setdefault(asker, collections.deque()).append(one)
        self._count += 1

    @property
    def first(self) -> T | None:
        """Whose turn it is."""
        asker = _next(self._lines, self._in)
        return None if asker is None else self._lines[asker][0]

    def let_in(self, asker: str) -> T:
        """The first of an asker waits no more; `leave` tells when it has gone."""
        one = _take(self._lines, asker)
        self._in[asker] += 1
        self._count -= 1
        return one

    def leave(self, asker: str) -> None:
        """One that was let in has gone."""
        self._in[asker] -= 1
        if not self._in[asker]:
            del self._in[asker]
        if line := self._lines.pop(asker, None):
            self._lines[asker] = line

    def give_up(self, asker: str, one: T) -> bool:
        """One waits no more, nor is let in; False if it did not wait."""
        line = self._lines.get(asker, ())
        if one not in line:
            return False
        assert isinstance(line, collections.deque)
        line.remove(one)
        if not line:
            del self._lines[asker]
        self._count -= 1
        return True

    def order(self) -> Iterator[T]:
        """All that wait, in the order in which they are let in if nobody comes or goes."""
        lines = {asker: collections.deque(line) for asker, line in self._lines.items()}
        inside = self._in.copy()
        while (asker := _next(lines, inside)) is not None:
            inside[asker] += 1
            yield _take(lines, asker)

    def clear(self) -> list[T]:
        """All that wait, who wait no more."""
        left = list(self.order())
        self._lines.clear()
        self._count = 0
        return left


def _next(lines: dict[str, collections.deque[T]], inside: collections.Counter[str]) -> str | None:
    return min(lines, key=inside.__getitem__, default=None)  # of equals, the first


def _take(lines: dict[str, collections.deque[T]], asker: str) -> T:
    line = lines.pop(asker)
    one = line.popleft()
    if line:
        lines[asker] = line  # behind the others, who have been first for longer
    return one

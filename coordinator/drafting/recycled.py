"""Guesses from all that was said lately: which id followed the same few, in whatever text.

As token recycling (arXiv:2408.08696) remembers what a model found likely, this remembers what came
of it. It is kept by the last one, two or three ids, in a table of each that has a fixed size.
"""

from collections.abc import Callable, Sequence

import numpy as np

from pi_cluster.transformer.sampling_settings import SamplingSettings

_SLOTS = 2**19  # 4 MiB: a tag and an id each
_TAG_BITS = 31
_MIX = 0x9E3779B97F4A7C15  # 2**64 by the golden ratio, which spreads neighbours (Knuth, TAOCP 6.4)
_MASK = 2**64 - 1
ORDERS = (3, 2, 1)


class RecycledIds:
    """What followed each ``order`` ids last, in the texts of one scheduler.

    Ids that fall on a slot take it from others, which are forgotten: memory stays ``size_bytes``.
    """

    def __init__(self, order: int, slots: int = _SLOTS) -> None:
        self.order = order
        self.name = f"recycled-{order}"
        self._tags = np.full(slots, -1, np.int32)
        self._ids = np.zeros(slots, np.int32)

    @property
    def size_bytes(self) -> int:
        """Of the table."""
        return self._tags.nbytes + self._ids.nbytes

    def begin(
        self,
        text: Sequence[int],
        sampling: SamplingSettings,  # noqa: ARG002
        on_guess: Callable[[], None],  # noqa: ARG002
    ) -> "RecycledDrafter":
        """Guess a text; what is in it before is left to who looks into the text itself."""
        return RecycledDrafter(self, text[-self.order :])

    def close(self) -> None:
        """Nothing is kept."""

    def note(self, before: Sequence[int], token: int) -> None:
        """So many ids as its order were followed by another."""
        slot, tag = self._place(before)
        self._tags[slot], self._ids[slot] = tag, token

    def after(self, before: Sequence[int]) -> int | None:
        """What followed so many ids last; None if that is not known any more."""
        slot, tag = self._place(before)
        return int(self._ids[slot]) if self._tags[slot] == tag else None

    def _place(self, before: Sequence[int]) -> tuple[int, int]:
        """Where some ids have their slot, and what tells them from others there."""
        mixed = 0
        for token in before:
            mixed = (mixed + token + 1) * _MIX & _MASK
            mixed ^= mixed >> 32
        return mixed % len(self._ids), mixed >> (64 - _TAG_BITS)


class RecycledDrafter:
    """Goes on as texts did that read like this one at the end."""

    seconds_each = 0.0
    is_at_work = False

    def __init__(self, table: RecycledIds, end: Sequence[int]) -> None:
        self._table = table
        self._end = list(end)

    @property
    def next_id(self) -> int | None:
        """What came last after the same ids."""
        return self._after(self._end)

    def add(self, ids: Sequence[int]) -> None:
        """Remember what the text went on with."""
        for token in ids:
            if len(self._end) == self._table.order:
                self._table.note(self._end, token)
                del self._end[0]
            self._end.append(token)

    def guess(self, guesses: Sequence[int], count: int) -> list[int]:
        """From guess to guess, as long as something is known."""
        line = [*self._end, *guesses]
        begun = len(line)
        while len(line) < begun + count:
            found = self._after(line[-self._table.order :])
            if found is None:
                break
            line.append(found)
        return line[begun:]

    def close(self) -> None:
        """What was noted stays."""

    def _after(self, before: Sequence[int]) -> int | None:
        return self._table.after(before) if len(before) == self._table.order else None

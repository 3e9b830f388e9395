"""What may come next in one text: a grammar, as the scheduler asks for it."""

from collections.abc import Sequence
from typing import Protocol


class Constraint(Protocol):
    """Follows one text from its answer's first id on, and says which ids may come next.

    What it says depends on the ids accepted so far alone, so that a text comes out the same however
    it is asked: row by row, or guessed ahead and rolled back. It is made on any thread, and used by
    the scheduler's alone, which serves all texts: none of this may take long. Whatever it raises
    ends its own text, and no other.

    An id that ends the text is never accepted: where a mask allows one and it is drawn, or where
    `is_finished`, the text has ended, also with ``ignore_eos``.
    """

    @property
    def is_finished(self) -> bool:
        """Whether only the end may follow: the text then ends without another step."""
        ...

    def mask(self) -> bytes | None:
        """Which ids may come next, those that end the text included; None for all of them.

        A little-endian bitset: id ``i`` is bit ``i % 8`` of byte ``i // 8``. Ids behind its last
        byte are not allowed; bits behind the vocabulary mean nothing. Without any bit the text is
        stuck, and ends with an error.
        """
        ...

    def forced(self) -> Sequence[int]:
        """Ids that come next for certain, and are not sampled; none if there is a choice.

        Nothing is accepted by asking. While they are accepted one by one, what is forced begins
        with the rest of them. They take precedence over the mask.
        """
        ...

    def likely(self) -> Sequence[int]:
        """Ids that are worth a guess where nothing is forced; none if there is no saying."""
        ...

    def accept(self, token: int) -> None:
        """The text goes on with an id that was allowed, perhaps only as a guess."""
        ...

    def rollback(self, count: int) -> None:
        """Take back the last ``count`` ids that were accepted, also from where it is finished."""
        ...

"""Who guesses how a text goes on."""

from collections.abc import Sequence
from typing import Protocol


class Drafter(Protocol):
    """Guesses the ids of one sequence."""

    def add(self, ids: Sequence[int]) -> None:
        """The text has grown by these ids."""
        ...

    def guess(self, guesses: Sequence[int], count: int) -> list[int]:
        """Up to ``count`` ids that may follow the text and the ``guesses`` made before."""
        ...

"""Who guesses how a text goes on: those that look it up, and those that compute beside it."""

from collections.abc import Callable, Sequence
from typing import Protocol

from pi_cluster.transformer.sampling_settings import SamplingSettings


class Drafter(Protocol):
    """Guesses the ids of one text. Used by the scheduler's thread alone, which it never blocks."""

    @property
    def next_id(self) -> int | None:
        """What it takes for the id behind the text; None where it cannot tell, or not yet."""
        ...

    @property
    def seconds_each(self) -> float:
        """How long a guess takes; 0 for what is looked up."""
        ...

    @property
    def is_at_work(self) -> bool:
        """Whether a guess that was wanted and is not there will come soon."""
        ...

    def add(self, ids: Sequence[int]) -> None:
        """The text has grown by these ids."""
        ...

    def guess(self, guesses: Sequence[int], count: int) -> list[int]:
        """Up to ``count`` ids that may follow the text and the ``guesses`` made before.

        Who computes them returns what is there, goes on up to that many, and no further.
        """
        ...

    def close(self) -> None:
        """The text has ended."""
        ...


class DraftSource(Protocol):
    """Makes the drafters of one kind, for all texts of one scheduler."""

    @property
    def name(self) -> str:
        """By which its guesses are counted."""
        ...

    def begin(
        self, text: Sequence[int], sampling: SamplingSettings, on_guess: Callable[[], None]
    ) -> Drafter:
        """Guess a text from now on, which is sampled so.

        ``on_guess`` is called, on any thread, when there is a guess that was not there when it was
        asked for.
        """
        ...

    def close(self) -> None:
        """There will be no texts any more. Returns within bounded time."""
        ...

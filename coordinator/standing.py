"""What a question waits for while nothing of its answer has come; any thread may be told."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Held:
    """It cannot be asked yet; ``reason`` is a sentence for people."""

    reason: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """It waits for its turn."""

    position: int
    """How many requests are to begin before it, by the present order."""
    expected_s: float | None
    """About how long that will take; None while nothing is known of it."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The model reads its prompt."""

    done: int
    """Tokens of the prompt that have passed all stages, those that were held already included."""
    total: int


Standing = Held | Waiting | Reading

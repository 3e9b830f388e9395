"""What a pipeline has done for this program, counted by its scheduler."""

from dataclasses import dataclass


@dataclass(slots=True)
class Counters:
    """Sums that only grow, through one scheduler after another.

    The scheduler's thread alone writes; any may read, each number by itself.
    """

    steps: int = 0
    """That came back."""
    step_rows: int = 0
    """Positions in those steps."""
    prompt_tokens: int = 0
    """Of the requests that were let in."""
    cached_tokens: int = 0
    """Of those: what the stages held already, and did not compute again."""
    generated_tokens: int = 0
    """Including those that were forced and those that were guessed."""
    forced_tokens: int = 0
    """That a constraint left no choice for."""
    right_guesses: int = 0
    wrong_guesses: int = 0

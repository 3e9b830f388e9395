"""How much a stage takes."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What a stage accepts, so that its memory is known before anything is loaded."""

    max_step_rows: int
    max_sequences: int
    context: int
    """Longest sequence of a model without a window; with one, texts may grow without end."""
    cache_positions: int
    """That the caches of all sequences hold together, each counted in whole tiles."""

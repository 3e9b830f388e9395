"""How full a pipeline is at one moment."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Occupancy:
    """Requests, and positions of the caches; no request is in two of these numbers."""

    waiting: int = 0
    running: int = 0
    cache_positions: int = 0
    """That there is room for."""
    cache_positions_used: int = 0
    """Those included that are kept for who goes on with a text."""
    expected_wait_s: float | None = 0.0
    """Of one who would come now and wait behind the others; None while nothing is known of it."""

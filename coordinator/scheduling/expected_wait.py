"""How long those that wait will probably have to. Pure."""

import collections

_RECENT = 32  # requests: enough for a mean, few enough to follow what people do now


class HeldPlaces:
    """How long recent requests have held their places."""

    def __init__(self) -> None:
        self._recent_s: collections.deque[float] = collections.deque(maxlen=_RECENT)

    def add(self, held_s: float) -> None:
        """A request has left its place after so many seconds."""
        self._recent_s.append(held_s)

    def expected_wait_s(self, position: int, places: int) -> float | None:
        """Seconds until the one at ``position`` begins while ``places`` are held by others.

        A place comes free every mean time over the number of places. When those that run now began
        is left out: how long one has run says little of how long it will. None while nothing is
        known.
        """
        if not self._recent_s or not places:
            return None
        mean_s = sum(self._recent_s) / len(self._recent_s)
        return (position + 1) * mean_s / places

"""Guesses from the text itself.

Text often repeats what stands in its prompt: quotations, edited code, records of one shape. Looking
up where the last few ids occurred before costs nothing and guesses such text well (prompt lookup
decoding, A. Saxena, 2023; speculative decoding in general: arXiv:2211.17192).
"""

from collections.abc import Callable, Sequence

from pi_cluster.transformer.sampling_settings import SamplingSettings

_LONGEST, _SHORTEST = 4, 2  # ids that must agree before what followed them is a guess


class NgramDrafter:
    """Goes on as the text did after the latest place where it read as it does now."""

    seconds_each = 0.0
    is_at_work = False

    def __init__(self) -> None:
        self._text: list[int] = []
        # Where an n-gram was last followed by something, as the position of what follows it.
        self._after: dict[tuple[int, ...], int] = {}
        self._distance: int | None = None  # from a guess back to what it copies
        self._reached = 0  # the position behind its last guess

    @property
    def next_id(self) -> int | None:
        """What followed the latest such place."""
        distance = self._find(self._text[-_LONGEST:], 0)
        return None if distance is None else self._text[-distance]

    def add(self, ids: Sequence[int]) -> None:
        """Remember what each n-gram was followed by."""
        for token in ids:
            here = len(self._text)
            for size in range(_SHORTEST, min(_LONGEST, here) + 1):
                self._after[tuple(self._text[here - size :])] = here
            self._text.append(token)

    def guess(self, guesses: Sequence[int], count: int) -> list[int]:
        """Copy on from the place that was found, as long as all guesses are its own."""
        known, ahead = len(self._text), list(guesses)
        if not guesses or known + len(ahead) != self._reached:
            self._distance = self._find([*self._text[-_LONGEST:], *ahead], len(ahead))
        if self._distance is None:
            return []
        # The copy may reach into the guesses themselves, where a pattern repeats.
        for at in range(
            known + len(ahead) - self._distance, known + len(ahead) - self._distance + count
        ):
            ahead.append(self._text[at] if at < known else ahead[at - known])
        self._reached = known + len(ahead)
        return ahead[len(guesses) :]

    def close(self) -> None:
        """Nothing is kept of it."""

    def _find(self, end: Sequence[int], guesses: int) -> int | None:
        """How far back the place lies at which the text read as at its ``end``."""
        for size in range(min(_LONGEST, len(end)), _SHORTEST - 1, -1):
            place = self._after.get(tuple(end[-size:]))
            if place is not None:
                return len(self._text) + guesses - place
        return None


class Ngrams:
    """The source of drafters that each look into their own text."""

    name = "n-gram"

    def begin(
        self,
        text: Sequence[int],
        sampling: SamplingSettings,  # noqa: ARG002
        on_guess: Callable[[], None],  # noqa: ARG002
    ) -> NgramDrafter:
        """Guess a text by what stands in it."""
        drafter = NgramDrafter()
        drafter.add(text)
        return drafter

    def close(self) -> None:
        """Nothing is kept."""

"""How often somebody was right, of late."""

_BEGINS_AT = 0.5
_WEIGHT = 3.0  # guesses that count as much as what was known before the first
_IN_A_TEXT = 0.95  # what older guesses count for, with each new one
_IN_ALL_TEXTS = 0.99


class Acceptance:
    """The share of guesses that were right, the later ones counting for more."""

    def __init__(self, memory: float, begins_at: float) -> None:
        self._memory = memory
        self._right, self._wrong = _WEIGHT * begins_at, _WEIGHT * (1 - begins_at)

    @classmethod
    def of_all_texts(cls) -> "Acceptance":
        """Before anybody has guessed: hopeful, or nobody would ever try."""
        return cls(_IN_ALL_TEXTS, _BEGINS_AT)

    def of_a_text(self) -> "Acceptance":
        """What a new text begins with, by what is known of all before it."""
        return Acceptance(_IN_A_TEXT, self.share)

    @property
    def share(self) -> float:
        """From 0 to 1."""
        return self._right / (self._right + self._wrong)

    def count(self, is_right: bool) -> None:
        """One more is known."""
        self._right = self._right * self._memory + is_right
        self._wrong = self._wrong * self._memory + (not is_right)

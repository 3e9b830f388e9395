"""A text as a small model follows it: what is certain, what it guesses behind, what it has read."""

from collections.abc import Sequence
from dataclasses import dataclass

from pi_cluster.transformer.sampling import Logits, candidates_needed, sample, top_candidates
from pi_cluster.transformer.sampling_settings import SamplingSettings

_NEAR = 16  # ids that are read as fast as one
_FEWEST_AHEAD = 1


@dataclass(frozen=True, slots=True)
class Reading:
    """What a model is to read next: ``ids`` from position ``start`` on."""

    start: int
    ids: Sequence[int]
    is_last: bool
    """Whether what follows these ids is a guess, and not known already."""

    @property
    def stop(self) -> int:
        """The position behind."""
        return self.start + len(self.ids)


class DraftedText:
    """The line of a text and the guesses behind it, and how much of that a model has read.

    A model reads some positions while the line may change. ``_read`` positions of what it holds
    agree with the line, or will when it has done. Not safe for threads: `DraftModel` has the lock.
    """

    def __init__(self, number: int, text: Sequence[int], sampling: SamplingSettings) -> None:
        self.number = number
        self.has_ended = False
        self.held = 0
        """Positions that the model holds, or will when it has done; right or not."""
        self._text = list(text)
        self._sampling = sampling
        self._ahead: list[int] = []
        self._given = 0  # of those ahead: what others had guessed
        self._most_ahead = _FEWEST_AHEAD
        self._read = 0

    @property
    def next_id(self) -> int | None:
        """What the model takes for the id behind the text; None if it does not know yet."""
        return self._ahead[0] if self._ahead and not self._given else None

    @property
    def wants_guesses(self) -> bool:
        """Whether it may go on guessing."""
        return not self.has_ended and len(self._ahead) < self._most_ahead

    @property
    def is_near(self) -> bool:
        """Whether the next guess lies no more than about one step of the model away."""
        return self.wants_guesses and len(self._text) + len(self._ahead) - self._read <= _NEAR

    def add(self, ids: Sequence[int]) -> None:
        """The text goes on; a guess that came true moves into it, others are forgotten."""
        for token in ids:
            if self._ahead and self._ahead[0] == token:
                del self._ahead[0]
                self._given = max(0, self._given - 1)
            else:
                self._forget(0)
            self._text.append(token)

    def guess(self, guesses: Sequence[int], count: int) -> list[int]:
        """What is there behind the ``guesses``, which it follows, and how far it may go on."""
        self._most_ahead = len(guesses) + count
        agreed = 0
        for mine, theirs in zip(self._ahead, guesses, strict=False):
            if mine != theirs:
                break
            agreed += 1
        if agreed < len(guesses):
            self._forget(agreed)
            self._ahead += guesses[agreed:]
            self._given = len(guesses)
        return self._ahead[len(guesses) :][:count]

    def next_reading(self, most: int, most_positions: int | None) -> Reading | None:
        """The next ids to read, at most so many; None while nothing is wanted.

        The caller has them read, and then calls `take`, unless the text has ended.
        """
        stop = len(self._text) + len(self._ahead)
        if not self.wants_guesses or (most_positions is not None and stop > most_positions):
            return None
        # Of a line that it has read to the end and then left, the last id is read again.
        start = min(self._read, stop - 1)
        line = [*self._text[start:], *self._ahead[max(0, start - len(self._text)) :]]
        ids = line[:most]
        self._read = self.held = start + len(ids)
        return Reading(start, ids, len(ids) == len(line))

    def begin_anew(self) -> None:
        """What the model holds cannot be gone back in: read all of it again."""
        self._read = self.held = 0

    def take(self, reading: Reading, logits: Logits) -> bool:
        """The model has read; whether there is a guess that was not there."""
        stop = len(self._text) + len(self._ahead)
        if self.has_ended or not reading.is_last or (self._read, stop) != (reading.stop,) * 2:
            return False
        self._ahead.append(self._drawn(logits, stop))
        return True

    def _forget(self, ahead: int) -> None:
        """The line goes on otherwise behind so many guesses."""
        del self._ahead[ahead:]
        self._given = min(self._given, ahead)
        self._read = min(self._read, len(self._text) + ahead)

    def _drawn(self, logits: Logits, position: int) -> int:
        """What the text would go on with by these logits: the same draw as at the pipeline's end.

        A model that is much like the large one then guesses right mostly, whatever is drawn.
        """
        candidates = top_candidates(logits, candidates_needed(self._sampling))
        # What was seen matters where all logits are needed, and such texts nobody guesses.
        return sample(candidates, self._sampling, position, seen_ids=())

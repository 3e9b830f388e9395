"""One sequence as its steps are made: what is known of it, what is guessed, what was sent."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from pi_cluster.coordinator.steps import StepChunk


@dataclass(slots=True, eq=False)
class SequenceState:
    """A text whose next id is found by sending the ones before.

    ``text`` holds the ids that are certain: the prompt, then what was sampled. ``guesses`` may
    follow it and may be sent too; :meth:`accept` tells whether the first of them was right. A
    position is ``confirmed`` when its step has passed all stages.
    """

    number: int
    text: list[int]
    candidates: int = 0
    prefix_of: int = 0
    """Whose first ``sent`` positions this one begins with, until its first chunk is made."""
    sent: int = 0
    confirmed: int = 0
    shared: int = 0
    """Positions that the stages held of it when it began."""
    most_positions: int = sys.maxsize
    """Positions that are reserved for it in the caches, and that no chunk may pass."""
    most_guesses: int = sys.maxsize
    """Positions by which the caches can surely go back."""
    inherited: int = 0
    """Positions that the caches it was copied from have held: a copy lacks what they overwrote."""
    most_sent: int = field(init=False)
    """Positions that its caches have held, of which guesses may since have been given up."""
    guesses: list[int] = field(default_factory=list)
    in_flight: set[int] = field(default_factory=set)
    """Numbers of its steps that have not come back."""

    def __post_init__(self) -> None:
        self.most_sent = self.sent

    @property
    def unsent(self) -> int:
        """Certain ids that no step has taken yet."""
        return max(0, len(self.text) - self.sent)

    @property
    def reached(self) -> int:
        """Positions of which the earliest may have been overwritten in its caches."""
        return max(self.most_sent, self.inherited)

    def positions_read(self) -> int:
        """Positions that need not be computed any more; any thread may ask."""
        return max(self.confirmed, self.shared)

    @property
    def guess_room(self) -> int:
        """Ids that may still be guessed: they have their places, and wrong ones can be undone."""
        free = min(self.most_positions - len(self.text), self.most_guesses)
        return free - len(self.guesses)

    @property
    def unsent_guesses(self) -> int:
        """Guessed ids that no step has taken yet."""
        return len(self.text) + len(self.guesses) - max(self.sent, len(self.text))

    def take(self, rows: int) -> StepChunk:
        """The next ``rows`` ids, certain ones before guesses; logits where the next is unknown."""
        start, stop = self.sent, self.sent + rows
        ids = self._ids(start, stop)
        assert len(ids) == rows > 0, "a chunk of ids that are not there"
        prefix_of, self.prefix_of = self.prefix_of, 0
        self.sent = stop
        self.most_sent = max(self.most_sent, stop)
        first_unknown = max(start, len(self.text) - 1)
        return StepChunk(
            self.number, start, ids, max(0, stop - first_unknown), self.candidates, prefix_of
        )

    def accept(self, token: int) -> bool:
        """Add the id that was sampled after the text; False if another one had been guessed.

        Then the guesses are gone, and what was sent of them must be superseded.
        """
        was_guessed = bool(self.guesses)
        is_right = was_guessed and self.guesses[0] == token
        self.text.append(token)
        if is_right:
            del self.guesses[0]
        elif was_guessed:
            self.give_up_guesses(len(self.text) - 1)
        return is_right or not was_guessed

    def give_up_guesses(self, certain: int) -> None:
        """Forget what was guessed; only the first ``certain`` positions sent were certain."""
        self.guesses.clear()
        self.sent = min(self.sent, certain)

    def _ids(self, start: int, stop: int) -> Sequence[int]:
        known = len(self.text)
        if stop <= known:
            return self.text[start:stop]
        return self.text[start:] + self.guesses[max(0, start - known) : stop - known]

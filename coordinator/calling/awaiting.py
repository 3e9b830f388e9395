"""A text that is free until it begins to call: from there on it keeps to the calls' grammar."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from pi_cluster.coordinator.constraint import Constraint
from pi_cluster.transformer.text.thoughts import CLOSING, OPENING

_OPENING, _CLOSING = OPENING.encode(), CLOSING.encode()


class _Phase(Enum):
    FIRST = auto()
    """It may still turn out to be a thought."""
    THOUGHT = auto()
    TEXT = auto()
    CALLS = auto()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a text stands: in which phase, and its end as far as that may begin something."""

    phase: _Phase
    end: bytes = b""

    @property
    def calls(self) -> bool:
        """Whether calls follow."""
        return self.phase is _Phase.CALLS


class Watch:
    """Sees where an answer begins to call, by the rules by which it is read.

    Those are `asking/parts.py` for thoughts, and a `CallFormat`'s openings.
    """

    def __init__(
        self,
        openings: Sequence[int | str],
        shown: Callable[[int], bytes],
        *,
        begins_in_thought: bool,
    ) -> None:
        """``shown`` gives the text that an id adds, in UTF-8."""
        self._ids = {one for one in openings if isinstance(one, int)}
        self._texts = [one.encode() for one in openings if isinstance(one, str)]
        self._shown = shown
        self.first = Place(_Phase.THOUGHT if begins_in_thought else _Phase.FIRST)
        """Where an answer begins."""

    def after(self, place: Place, token: int) -> Place:
        """Where a text stands that goes on with an id."""
        if token in self._ids:
            return place if place.phase is _Phase.THOUGHT else Place(_Phase.CALLS)
        phase, text = place.phase, place.end + self._shown(token)
        if phase is _Phase.FIRST:
            text = text.lstrip()
            if _OPENING.startswith(text):
                return Place(phase, text)
            phase = _Phase.THOUGHT if text.startswith(_OPENING) else _Phase.TEXT
        if phase is _Phase.THOUGHT:
            _, closing, behind = text.partition(_CLOSING)
            if not closing:
                return Place(phase, _begun(text, [_CLOSING]))
            phase, text = _Phase.TEXT, behind
        for opening in self._texts:
            _, opened, behind = text.partition(opening)
            # What else has come with it may be no call: then the rest is free.
            if opened and not behind.strip():
                return Place(_Phase.CALLS)
        return Place(phase, _begun(text, self._texts))


class CallsAwaited:
    """A `Constraint`: another one, from where the first call begins."""

    def __init__(self, watch: Watch, new_calls: Callable[[], Constraint]) -> None:
        """``new_calls`` makes what follows behind the opening; it must not take long."""
        self._watch = watch
        self._new_calls = new_calls
        self._places = [watch.first]  # before each id outside of calls, and behind the last
        self._calls: Constraint | None = None
        self._within = 0

    @property
    def is_finished(self) -> bool:
        """Whether the calls are complete."""
        return self._calls is not None and self._calls.is_finished

    def mask(self) -> bytes | None:
        """All ids, until calls begin."""
        return self._calls.mask() if self._calls else None

    def forced(self) -> Sequence[int]:
        """None, until calls begin."""
        return self._calls.forced() if self._calls else ()

    def likely(self) -> Sequence[int]:
        """None, until calls begin."""
        return self._calls.likely() if self._calls else ()

    def accept(self, token: int) -> None:
        """The text goes on with an id."""
        if self._calls:
            self._calls.accept(token)
            self._within += 1
            return
        self._places.append(self._watch.after(self._places[-1], token))
        if self._places[-1].calls:
            self._calls, self._within = self._new_calls(), 0

    def rollback(self, count: int) -> None:
        """Take back the last ``count`` ids."""
        within = min(count, self._within)
        if self._calls and within:
            self._calls.rollback(within)
            self._within -= within
        if before := count - within:
            self._calls = None
            del self._places[-before:]


def _begun(text: bytes, tags: Sequence[bytes]) -> bytes:
    """The end of a text, as far as it may begin one of the tags."""
    longest = max((len(tag) for tag in tags), default=1) - 1
    return text[-longest:] if longest else b""

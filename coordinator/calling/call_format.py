"""What there is to know of one way in which models write calls."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from pi_cluster.coordinator.calling.feed import Feed, Reading
from pi_cluster.coordinator.constraining.grammar import literal

MOST_CALLS = 16
"""Of one answer: a model that has lost its way would call until its last token."""


@dataclass(frozen=True, slots=True)
class Mark:
    """An added token where it matters for calls."""

    character: str
    """Stands for it while an answer is read: a lone surrogate, which no text can hold."""
    spelling: str
    """Stands for it where it turns out to be mere text."""


class CallFormat(Protocol):
    """How calls are spelt, for the grammar that keeps a model to it, and how they are read.

    A grammar's parts are in the notation of `constraining/grammar.py`.
    """

    @property
    def marks(self) -> Mapping[int, Mark]:
        """By the ids of the tokens."""
        ...

    @property
    def openings(self) -> Sequence[int | str]:
        """What calls begin with wherever it stands: a marked token's id, or a text.

        None of them where the form of a whole answer tells whether it is a call.
        """
        ...

    def opening(self) -> str:
        """The part that begins calls, which may be empty."""
        ...

    def calls(self, most: int) -> str:
        """The part behind the opening: up to ``most`` times the rule ``call``."""
        ...

    def call(self, name: str, arguments: str) -> str:
        """The part that is the call of one tool; ``arguments`` is the rule for those."""
        ...

    def text(self) -> str | None:
        """The part for an answer that calls nothing, where that has a form of its own."""
        ...

    def read(self, feed: Feed) -> Reading[None]:
        """Take an answer to its end, and tell its calls from its text."""
        ...


def call_object(name: str, arguments: str, *, key: str = "arguments") -> str:
    """A call as an object; ``arguments`` is the rule for those."""
    begin = f'{{"name": "{name}", "{key}": '
    return f'{literal(begin)} {arguments} "}}"'


def up_to(most: int, part: str, separator: str) -> str:
    """From one to ``most`` of a part."""
    return part if most == 1 else f"{part} ({separator} {part}){{0,{most - 1}}}"

"""What an answer consists of: what the model thinks, says, and has called.

`transformer/text/thoughts.py` has how a thought is spelt.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from pi_cluster.coordinator.calling.reading import CallReader
from pi_cluster.coordinator.calling.tools import ToolCall
from pi_cluster.transformer.text.thoughts import CLOSING, OPENING


@dataclass(frozen=True, slots=True)
class Said:
    """Text for whoever asked."""

    text: str


@dataclass(frozen=True, slots=True)
class Thought:
    """Text by which the model came to its answer; its tags are a part of it."""

    text: str


@dataclass(frozen=True, slots=True)
class Called:
    """A call of a tool, once it is complete; its spelling is no part of the answer's text."""

    call: ToolCall


Part = Said | Thought | Called


class AnswerParts:
    """Tells the parts of an answer that comes in pieces from each other.

    A thought comes first, or there is none: what an answer says of ``<think>`` later is its text.
    """

    def __init__(self, *, begins_in_thought: bool, calls: CallReader | None = None) -> None:
        """``begins_in_thought``: the prompt has opened what the answer goes on with.

        ``calls`` reads the calls behind the thought, of an answer that may have some.
        """
        self._calls = calls
        self._is_thought = True if begins_in_thought else None  # None: not known yet
        self._held = ""

    def push(self, piece: str) -> Iterator[Part]:
        """Parts that are certain now; none of them is empty."""
        for part in self._texts(piece):
            yield from self._told(part)

    def finish(self) -> Iterator[Part]:
        """What was held back, when no more comes."""
        held, self._held = self._held, ""
        yield from self._told(Thought(held) if self._is_thought else Said(held))
        if self._calls:
            yield from map(_as_part, self._calls.finish())

    def _told(self, part: Said | Thought) -> Iterator[Part]:
        if not part.text:
            return
        if not self._calls:
            yield part
        elif isinstance(part, Thought):
            yield Thought(self._calls.unmarked(part.text))
        else:
            yield from map(_as_part, self._calls.push(part.text))

    def _texts(self, piece: str) -> Iterator[Said | Thought]:
        if self._is_thought is False:
            yield Said(piece)
            return
        self._held += piece
        if self._is_thought is None:
            begun = self._held.lstrip()
            if OPENING.startswith(begun):  # it may become the tag yet
                return
            self._is_thought = begun.startswith(OPENING)
        before, tag, after = self._held.partition(CLOSING)
        if not self._is_thought or tag:
            self._held = ""
            if self._is_thought:
                yield Thought(before + tag)
            else:
                after = before + tag + after
            self._is_thought = False
            yield Said(after)
            return
        kept = next((n for n in range(len(CLOSING) - 1, 0, -1) if before.endswith(CLOSING[:n])), 0)
        self._held = before[len(before) - kept :]
        yield Thought(before[: len(before) - kept])


def _as_part(one: str | ToolCall) -> Part:
    return Said(one) if isinstance(one, str) else Called(one)

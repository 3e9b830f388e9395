"""Calls as Hermes, Qwen and many others write them, with ``arguments`` in an object:

``<tool_call>``, a line break, ``{"name": .., "arguments": ..}``, a line break, ``</tool_call>``.

The tags are added tokens of some models, and spelt in pieces by others. Source: the chat templates
of NousResearch's Hermes 2 Pro and of Qwen2.5 and Qwen3.
"""

from collections.abc import Mapping, Sequence

from pi_cluster.coordinator.calling.call_format import Mark, call_object, up_to
from pi_cluster.coordinator.calling.feed import Feed, Reading
from pi_cluster.coordinator.calling.json_text import called_by, object_text, solid
from pi_cluster.coordinator.calling.looking import give_up, text_until
from pi_cluster.coordinator.constraining.grammar import literal, token

OPENING, CLOSING = "<tool_call>", "</tool_call>"
_OPENING, _CLOSING = "\ud800", "\ud801"


class Hermes:
    """A `CallFormat`."""

    def __init__(self, opening_id: int | None, closing_id: int | None) -> None:
        """Ids of the tags, as far as they are added tokens."""
        self._opening_id = opening_id
        self._closing_id = closing_id

    @property
    def marks(self) -> Mapping[int, Mark]:
        """The tags, as far as they are tokens."""
        tags = {
            self._opening_id: Mark(_OPENING, OPENING),
            self._closing_id: Mark(_CLOSING, CLOSING),
        }
        return {tag: mark for tag, mark in tags.items() if tag is not None}

    @property
    def openings(self) -> Sequence[int | str]:
        """The opening tag."""
        return (OPENING if self._opening_id is None else self._opening_id,)

    def opening(self) -> str:
        """The opening tag."""
        return literal(OPENING) if self._opening_id is None else token(self._opening_id)

    def calls(self, most: int) -> str:
        """One after the other, each within its tags."""
        closing = literal(CLOSING) if self._closing_id is None else token(self._closing_id)
        # A tag in pieces may have come with what stands behind it.
        space = r"/[ \n]{0,2}/" if self._opening_id is None else literal("\n")
        line = literal("\n")
        return up_to(most, f"{space} call {line} {closing}", f"{line} {self.opening()}")

    def call(self, name: str, arguments: str) -> str:
        """An object."""
        return call_object(name, arguments)

    def text(self) -> str | None:
        """Text has no form."""
        return None

    def read(self, feed: Feed) -> Reading[None]:
        """Calls behind each opening tag; a closing one may be missing at the end."""
        while (yield from text_until(feed, (_OPENING, OPENING))):
            written = yield from object_text(feed)
            call = called_by(written) if written else None
            if call is None or not feed.call(*call) or not (yield from _closing(feed)):
                give_up(feed)


def _closing(feed: Feed) -> Reading[bool]:
    character = yield from solid(feed)
    if character == _CLOSING:
        feed.drop()
        return True
    for expected in CLOSING:
        if character != expected:
            return False
        if expected != CLOSING[-1]:
            character = yield from feed.take()
    feed.drop()
    return True

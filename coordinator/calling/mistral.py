"""Calls as Mistral's models up to v7 write them: ``[TOOL_CALLS] [{"name": .., "arguments": ..}]``.

Source: mistral-common's InstructTokenizerV2 and V3. The opening is a control token. Models of v3
often leave it out, so an answer that begins with such a list is one of calls too.
"""

from collections.abc import Mapping, Sequence

from pi_cluster.coordinator.calling.call_format import Mark, call_object, up_to
from pi_cluster.coordinator.calling.feed import Feed, Reading
from pi_cluster.coordinator.calling.looking import (
    begins_with,
    calls_of_objects,
    give_up,
    text_until,
)
from pi_cluster.coordinator.constraining.grammar import literal, token

OPENING = "[TOOL_CALLS]"
_OPENING = "\ud800"


class MistralList:
    """A `CallFormat`."""

    def __init__(self, opening_id: int, *, dummy_prefix: bool) -> None:
        """``dummy_prefix``: SentencePiece puts a space before what follows a control token."""
        self._opening_id = opening_id
        self._begin = " [" if dummy_prefix else "["

    @property
    def marks(self) -> Mapping[int, Mark]:
        """The opening."""
        return {self._opening_id: Mark(_OPENING, OPENING)}

    @property
    def openings(self) -> Sequence[int | str]:
        """The control token."""
        return (self._opening_id,)

    def opening(self) -> str:
        """The control token."""
        return token(self._opening_id)

    def calls(self, most: int) -> str:
        """A list of them."""
        listed = up_to(most, "call", literal(", "))
        return f'{literal(self._begin)} {listed} "]"'

    def call(self, name: str, arguments: str) -> str:
        """An object."""
        return call_object(name, arguments)

    def text(self) -> str | None:
        """Text has no form."""
        return None

    def read(self, feed: Feed) -> Reading[None]:
        """Calls in lists behind the opening, or in one that the answer begins with."""
        begun = yield from begins_with(feed, {f'[{{"name":"{name}"' for name in feed.names})
        feed.put_all_back()
        if begun:
            yield from self._list(feed)
        while (yield from text_until(feed, (_OPENING,))):
            yield from self._list(feed)

    def _list(self, feed: Feed) -> Reading[None]:
        character = " "
        while character.isspace():
            character = yield from feed.take()
        if character == "[" and (yield from calls_of_objects(feed, ",")) == "]":
            feed.drop()
        else:
            give_up(feed)

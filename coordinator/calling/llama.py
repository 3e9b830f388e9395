"""Calls as Llama 3.1 and its successors write them: ``{"name": .., "parameters": ..}``.

The object is the whole answer, or stands behind the token ``<|python_tag|>``. Source: the chat
templates of Llama 3.1 to 3.3, and Meta's documentation of their prompt formats.
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
from pi_cluster.coordinator.constraining.grammar import literal

OPENING = "<|python_tag|>"
_OPENING = "\ud800"
_BEGINNINGS = ('{"name":"', '{"type":"function","name":"')


class Llama:
    """A `CallFormat`."""

    def __init__(self, opening_id: int | None) -> None:
        """``opening_id``: of ``<|python_tag|>``, where the model has it."""
        self._opening_id = opening_id

    @property
    def marks(self) -> Mapping[int, Mark]:
        """The opening, where the model has it."""
        return {} if self._opening_id is None else {self._opening_id: Mark(_OPENING, OPENING)}

    @property
    def openings(self) -> Sequence[int | str]:
        """The token, where the model has it."""
        return () if self._opening_id is None else (self._opening_id,)

    def opening(self) -> str:
        """Nothing: the answer begins with the call."""
        return ""

    def calls(self, most: int) -> str:
        """Objects one after the other."""
        return up_to(most, "call", literal("; "))

    def call(self, name: str, arguments: str) -> str:
        """An object."""
        return call_object(name, arguments, key="parameters")

    def text(self) -> str | None:
        """Text has no form."""
        return None

    def read(self, feed: Feed) -> Reading[None]:
        """Calls that the answer begins with, or behind the opening."""
        beginnings = {f'{begin}{name}"' for begin in _BEGINNINGS for name in feed.names}
        begun = yield from begins_with(feed, beginnings)
        feed.put_all_back()
        if begun:
            yield from self._objects(feed)
        while (yield from text_until(feed, (_OPENING,))):
            yield from self._objects(feed)

    def _objects(self, feed: Feed) -> Reading[None]:
        yield from calls_of_objects(feed, ";,")
        give_up(feed)

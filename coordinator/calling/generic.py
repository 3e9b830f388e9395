"""Calls by models that were taught no form for them.

What there is to call stands in the system's message, and each answer is one JSON object:
``{"tool_calls": [{"name": .., "arguments": ..}]}``, or ``{"response": ".."}``.
"""

from collections.abc import Mapping, Sequence

from pi_cluster.coordinator.calling.call_format import Mark, call_object, up_to
from pi_cluster.coordinator.calling.feed import Feed, Reading
from pi_cluster.coordinator.calling.json_text import solid
from pi_cluster.coordinator.calling.looking import begins_with, calls_of_objects
from pi_cluster.coordinator.constraining.grammar import json_rule, literal

_RESPONSE, _CALLS = '{"response":"', '{"tool_calls":['
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_BROKEN = "\ufffd"


class Generic:
    """A `CallFormat`."""

    @property
    def marks(self) -> Mapping[int, Mark]:
        """No tokens are added for it."""
        return {}

    @property
    def openings(self) -> Sequence[int | str]:
        """The form of the whole answer tells."""
        return ()

    def opening(self) -> str:
        """The name of the list."""
        return literal('{"tool_calls": [')

    def calls(self, most: int) -> str:
        """A list of them."""
        listed = up_to(most, "call", literal(", "))
        return f'{listed} "]}}"'

    def call(self, name: str, arguments: str) -> str:
        """An object."""
        return call_object(name, arguments)

    def text(self) -> str | None:
        """A string."""
        begin = literal('{"response": ')
        return f'{begin} {json_rule({"type": "string"}, fixed=True)} "}}"'

    def read(self, feed: Feed) -> Reading[None]:
        """The one object, or what an answer out of this form says."""
        begun = yield from begins_with(feed, (_RESPONSE, _CALLS))
        is_whole = False
        if begun == _RESPONSE:
            feed.drop()
            is_whole = yield from _string(feed)
        elif begun == _CALLS:
            is_whole = (yield from calls_of_objects(feed, ",")) == "]"
        if is_whole and (yield from solid(feed)) == "}":
            feed.drop()
        feed.say()
        while (yield from feed.take()):
            feed.say()


def _string(feed: Feed) -> Reading[bool]:
    """Say a string as it comes, and whether it came to its end."""
    while character := (yield from feed.take()):
        if character == '"':
            feed.drop()
            return True
        if character == "\\":
            feed.say_instead((yield from _escaped(feed)))
        else:
            feed.say()
    return False


def _escaped(feed: Feed) -> Reading[str]:
    """What an escape stands for; characters of other planes are written as two."""
    high = yield from _escape(feed)
    if not "\ud800" <= high <= "\udbff":
        return _BROKEN if "\udc00" <= high <= "\udfff" else high
    if (yield from feed.take()) != "\\":
        feed.put_back()
        return _BROKEN
    low = yield from _escape(feed)
    both = (high + low).encode("utf-16", "surrogatepass")
    return both.decode("utf-16", "replace")


def _escape(feed: Feed) -> Reading[str]:
    kind = yield from feed.take()
    if kind != "u":
        return _ESCAPES.get(kind, kind)
    digits = ""
    while len(digits) < 4 and (digit := (yield from feed.take())):
        digits += digit
    try:
        return chr(int(digits, 16))
    except ValueError:
        return _BROKEN

"""Calls as Mistral's models from v11 on write them: ``[TOOL_CALLS]name[ARGS]{...}`` each.

Source: mistral-common's InstructTokenizerV11, which puts ``[CALL_ID]`` and an id behind the name,
and V13, which does not. All three are control tokens.
"""

from collections.abc import Mapping, Sequence

from pi_cluster.coordinator.calling.call_format import Mark, up_to
from pi_cluster.coordinator.calling.feed import Feed, Reading
from pi_cluster.coordinator.calling.json_text import is_mark, members, object_text
from pi_cluster.coordinator.calling.looking import give_up, text_until
from pi_cluster.coordinator.constraining.grammar import literal, token

ARGUMENTS, CALL_ID = "[ARGS]", "[CALL_ID]"
_OPENING, _ARGUMENTS, _CALL_ID = "\ud800", "\ud801", "\ud802"
_LONGEST_WORD = 64


class MistralArguments:
    """A `CallFormat`."""

    def __init__(self, opening_id: int, arguments_id: int, call_id_id: int | None) -> None:
        self._opening_id = opening_id
        self._arguments_id = arguments_id
        self._call_id_id = call_id_id

    @property
    def marks(self) -> Mapping[int, Mark]:
        """The control tokens between which the parts of a call stand."""
        marks = {
            self._opening_id: Mark(_OPENING, "[TOOL_CALLS]"),
            self._arguments_id: Mark(_ARGUMENTS, ARGUMENTS),
        }
        if self._call_id_id is not None:
            marks[self._call_id_id] = Mark(_CALL_ID, CALL_ID)
        return marks

    @property
    def openings(self) -> Sequence[int | str]:
        """The control token."""
        return (self._opening_id,)

    def opening(self) -> str:
        """The control token."""
        return token(self._opening_id)

    def calls(self, most: int) -> str:
        """One after the other, each behind an opening of its own."""
        return up_to(most, "call", self.opening())

    def call(self, name: str, arguments: str) -> str:
        """The name, perhaps an id, and the arguments."""
        call_id = ""
        if self._call_id_id is not None:
            call_id = f"({token(self._call_id_id)} /[A-Za-z0-9]{{9}}/)?"
        return f"{literal(name)} {call_id} {token(self._arguments_id)} {arguments}"

    def text(self) -> str | None:
        """Text has no form."""
        return None

    def read(self, feed: Feed) -> Reading[None]:
        """Calls behind each opening."""
        while (yield from text_until(feed, (_OPENING,))):
            name, end = yield from _word(feed)
            call_id = ""
            if end == _CALL_ID:
                call_id, end = yield from _word(feed)
            written = (yield from object_text(feed)) if end == _ARGUMENTS else None
            is_sound = written is not None and members(written) is not None
            if not is_sound or not feed.call(name, written or "", call_id):
                give_up(feed)


def _word(feed: Feed) -> Reading[tuple[str, str]]:
    """Text up to a mark, and that mark; no mark where it is too long or the answer ends."""
    word = ""
    while len(word) <= _LONGEST_WORD and (character := (yield from feed.take())):
        if is_mark(character):
            return word.strip(), character
        word += character
    return word, ""

"""Text from ids as they come, one by one."""

import codecs
import re
from collections.abc import Mapping

from pi_cluster.transformer.text.tokenizer import Tokenizer

_ESCAPED_BYTE = re.compile("[\udc80-\udcff]")


class IncrementalDetokenizer:
    """The text of a growing list of ids, in parts that never split a character.

    Invariant: all parts joined, `finish` included, are what the tokenizer's own library makes of
    the ids. A character may come as the bytes of several pieces, and nothing of it is handed out
    before its last byte: ``<0xE2> <0x98> <0xBA>`` gives ``"" "" "☺"``. Memory and the work for each
    id are constant.

    An answer is a text of its own: its first space, the dummy prefix, is dropped. A
    ``continuation`` of a raw text keeps it.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        continuation: bool = False,
        marks: Mapping[int, str] | None = None,
    ) -> None:
        """``marks`` are written for these ids, whatever their text is."""
        self._tokenizer = tokenizer
        self._marks = marks or {}
        self._continuation = continuation
        # "replace" gives one U+FFFD for the bytes of a character that is cut off.
        errors = "surrogateescape" if tokenizer.marks_each_byte else "replace"
        self._bytes = codecs.getincrementaldecoder("utf-8")(errors)

    def push(self, token_id: int) -> str:
        """The text that ``token_id`` completes; empty for control tokens and within a character.

        An id without a piece gives U+FFFD: the embedding of many models has more rows than their
        tokenizer has pieces.
        """
        if token_id in self._marks:
            return self.finish() + self._marks[token_id]
        if token_id not in self._tokenizer:
            return self.finish() + "\ufffd"
        added = self._tokenizer.added_text(token_id)
        if added is not None:
            self._continuation |= bool(added)
            return self.finish() + added
        if self._tokenizer.is_control(token_id):
            return self.finish()
        piece = self._tokenizer.piece_bytes(token_id, continuation=self._continuation)
        self._continuation = True
        return _mark_broken(self._bytes.decode(piece))

    def finish(self) -> str:
        """What is left of an unfinished character, as U+FFFD."""
        return _mark_broken(self._bytes.decode(b"", final=True))


def shown_bytes(tokenizer: Tokenizer, token_id: int) -> bytes:
    """What an id adds to a text that has begun, in UTF-8, perhaps a part of a character."""
    if token_id not in tokenizer:
        return "\ufffd".encode()
    if (added := tokenizer.added_text(token_id)) is not None:
        return added.encode()
    if tokenizer.is_control(token_id):
        return b""
    return tokenizer.piece_bytes(token_id, continuation=True)


def _mark_broken(text: str) -> str:
    return _ESCAPED_BYTE.sub("\ufffd", text)

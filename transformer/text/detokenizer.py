"""Text from ids as they come, one by one."""

import codecs
import re

from pi_cluster.transformer.text.tokenizer import Tokenizer

_ESCAPED_BYTE = re.compile("[\udc80-\udcff]")


class IncrementalDetokenizer:
    """The text of a growing list of ids, in parts that never split a character.

    Invariant: all parts joined, `finish` included, are ``tokenizer.decode(ids)``. A character
    that the vocabulary lacks comes as several byte pieces (*byte fallback*), and nothing of it is
    handed out before its last byte: ``<0xE2> <0x98> <0xBA>`` gives ``"" "" "☺"``. Memory and the
    work for each id are constant.

    An answer is a text of its own: its first space, the dummy prefix, is dropped. A
    ``continuation`` of a raw text keeps it.
    """

    def __init__(self, tokenizer: Tokenizer, *, continuation: bool = False) -> None:
        self._tokenizer = tokenizer
        self._continuation = continuation
        # Not errors="replace": that gives one U+FFFD for several bytes, SentencePiece one for each.
        self._bytes = codecs.getincrementaldecoder("utf-8")("surrogateescape")

    def push(self, token_id: int) -> str:
        """The text that ``token_id`` completes; empty for control tokens and within a character.

        An id without a piece gives U+FFFD: the embedding of many models has more rows than their
        tokenizer has pieces.
        """
        if token_id not in self._tokenizer:
            return self.finish() + "\ufffd"
        added = self._tokenizer.added_text(token_id)
        if added is not None:
            self._continuation |= bool(added)
            return self.finish() + added
        byte = self._tokenizer.byte_value(token_id)
        if byte is not None:
            self._continuation = True
            return _mark_broken(self._bytes.decode(bytes([byte])))
        broken = self.finish()
        text = self._tokenizer.decode([token_id], continuation=self._continuation)
        if not self._tokenizer.is_control(token_id):
            self._continuation = True
        return broken + text

    def finish(self) -> str:
        """What is left of an unfinished character: one U+FFFD for each byte."""
        return _mark_broken(self._bytes.decode(b"", final=True))


def _mark_broken(text: str) -> str:
    return _ESCAPED_BYTE.sub("\ufffd", text)

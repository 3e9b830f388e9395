"""Telling control tokens from text that merely looks like them.

A chat template writes text, control tokens by their spelling included: ``[INST] hi [/INST]``. Who
sends the message ``hi [/INST]`` must not get a control token for it. So a message is *guarded*
before it is rendered: a mark inside each control spelling, removed again after the rendered text
was split at the spellings that are still whole. Those were written by the template.
"""

import re
from collections.abc import Iterator, Mapping

from transformer.tokenizer import require_unicode

# A lone surrogate: no valid text can hold it, so a mark is never part of a message.
_MARK = "\udfff"


class ControlText:
    """Splits a rendered text at control spellings, those in guarded messages excepted."""

    def __init__(self, ids: Mapping[str, int]) -> None:
        """``ids``: spelling to id. Those of one character cannot be guarded and are left out."""
        self._ids = {spelling: i for spelling, i in ids.items() if len(spelling) > 1}
        self._lengths = sorted({len(spelling) for spelling in self._ids}, reverse=True)
        self._heads = {s[:end] for s in self._ids for end in range(1, len(s))}
        first = "".join(sorted({re.escape(spelling[0]) for spelling in self._ids}))
        # Only where a spelling may start do the look-ups below run: linear in the text.
        self._starts = re.compile(f"[{first}]" if first else "(?!)")

    def guard(self, text: str) -> str:
        """``text`` with a mark behind the first character of each control spelling.

        A spelling begun at the end of the text is marked too, lest what the template writes next
        complete it. Raises `PromptError` where ``text`` is not valid Unicode.
        """
        require_unicode(text)
        return self._starts.sub(self._marked, text)

    def unguard(self, text: str) -> str:
        """``text`` without the marks of `guard`."""
        return text.replace(_MARK, "")

    def split(self, rendered: str) -> Iterator[tuple[str, int | None]]:
        """Pairs (text, control id after it), marks removed; the last pair's id is None."""
        begin = 0
        for start in self._starts.finditer(rendered):
            spelling = self._spelling_at(rendered, start.start())
            if spelling is not None and start.start() >= begin:
                yield self.unguard(rendered[begin : start.start()]), self._ids[spelling]
                begin = start.start() + len(spelling)
        yield self.unguard(rendered[begin:]), None

    def _marked(self, start: re.Match[str]) -> str:
        tail = start.string[start.start() : start.start() + self._lengths[0]]
        if tail in self._heads or self._spelling_at(start.string, start.start()):
            return start[0] + _MARK
        return start[0]

    def _spelling_at(self, text: str, at: int) -> str | None:
        """The longest control spelling that starts at ``at``."""
        slices = (text[at : at + length] for length in self._lengths)
        return next((part for part in slices if part in self._ids), None)

"""Telling tokens that a template writes from text that merely looks like them.

A chat template writes text, control tokens by their spelling included: ``[INST] hi [/INST]``. Who
sends the message ``hi [/INST]`` must not get a control token for it. So a message is *guarded*
before it is rendered: marks break each control spelling, and whatever might become one. They are
removed again after the rendered text was split at the spellings that are still whole. Those were
written by the template.

Added words, which are no control tokens, are found in messages as well.
"""

import re
from collections.abc import Iterable, Iterator

from pi_cluster.transformer.text.added_tokens import AddedToken
from pi_cluster.transformer.text.unicode_text import require_unicode

# Lone surrogates: no valid text can hold them, so a mark is never part of a message.
_INSIDE = "\udfff"  # behind what may be the first character of a spelling
_BEFORE = "\udffe"  # in front of a message that might end a spelling begun by the template
_MARKS = re.compile(f"[{_BEFORE}{_INSIDE}]")
# White space as transformers' Rust side has it: Python's also has U+001C to U+001F.
_SPACE = re.compile(f"(?:[^\\S\x1c-\x1f]|[{_BEFORE}{_INSIDE}])*")
_WORD_CHARACTER = re.compile(r"\w")


class ControlText:
    """Splits a rendered text at tokens' spellings, control spellings in guarded messages excepted.

    Of spellings that start at one place, the longest counts, as in transformers.
    """

    def __init__(self, tokens: Iterable[AddedToken]) -> None:
        self._tokens = {token.content: token for token in tokens}
        control = [spelling for spelling, token in self._tokens.items() if token.is_control]
        self._control = frozenset(control)
        self._lengths = sorted({len(spelling) for spelling in self._tokens}, reverse=True)
        self._tails = {s[start:] for s in control for start in range(1, len(s))}
        self._starts = _any_first_character(self._tokens)
        self._control_starts = _any_first_character(control)

    def guard(self, text: str) -> str:
        """``text`` with a mark behind each character that may begin a control spelling.

        So what a template takes out of it, or writes behind it, completes none. Nor may the text
        complete one that the template began. Raises `PromptError` where ``text`` is not valid
        Unicode.
        """
        require_unicode(text)
        guarded = self._control_starts.sub(_marked, text)
        return _BEFORE + guarded if self._may_end_a_spelling(text) else guarded

    def unguard(self, text: str) -> str:
        """``text`` without the marks of `guard`."""
        return _MARKS.sub("", text)

    def split(self, rendered: str) -> Iterator[tuple[str, AddedToken | None]]:
        """Pairs (text, token after it), marks removed; the last pair's token is None."""
        begin = at = 0
        while start := self._starts.search(rendered, at):
            token = self._token_at(rendered, start.start())
            if token is None:
                at = start.end()
                continue
            end, at = start.start(), start.start() + len(token.content)
            if token.single_word and _is_within_word(rendered, end, at):
                continue
            if token.lstrip:
                end = _skip_space_left(rendered, begin, end)
            yield self.unguard(rendered[begin:end]), token
            if token.rstrip and (space := _SPACE.match(rendered, at)):
                at = space.end()
            begin = at
        yield self.unguard(rendered[begin:]), None

    def _may_end_a_spelling(self, text: str) -> bool:
        longest = self._lengths[0] if self._lengths else 0
        if any(text[:length] in self._tails for length in range(1, longest)):
            return True
        return 0 < len(text) < longest and any(text in s[1:] for s in self._control)

    def _token_at(self, text: str, at: int) -> AddedToken | None:
        for length in self._lengths:
            token = self._tokens.get(text[at : at + length])
            # A spelling of one character has no inside; its mark stands behind it.
            if token and not (length == 1 and text[at + 1 : at + 2] == _INSIDE):
                return token
        return None


def _marked(start: re.Match[str]) -> str:
    return start[0] + _INSIDE


def _any_first_character(spellings: Iterable[str]) -> re.Pattern[str]:
    # Only where a spelling may start are others looked up: linear in the text.
    first = "".join(sorted({re.escape(spelling[0]) for spelling in spellings}))
    return re.compile(f"[{first}]" if first else "(?!)")


def _is_within_word(text: str, start: int, end: int) -> bool:
    while start > 0 and _MARKS.match(text, start - 1):
        start -= 1
    while _MARKS.match(text, end):
        end += 1
    before = start > 0 and _WORD_CHARACTER.match(text, start - 1)
    return bool(before or _WORD_CHARACTER.match(text, end))


def _skip_space_left(text: str, begin: int, end: int) -> int:
    while end > begin and _SPACE.fullmatch(text, end - 1, end):
        end -= 1
    return end

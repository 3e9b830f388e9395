"""Constraints by the library llguidance, which nothing else here imports.

It is an optional dependency: the extra ``serve`` brings it.
"""

import codecs
import functools
import re
import threading
from collections.abc import Callable, Collection, Sequence
from typing import Any, cast

from llguidance import LLMatcher, LLParserLimits, LLTokenizer

from pi_cluster.coordinator.constraining.grammar import place_of
from pi_cluster.transformer.errors import ConstraintError, PromptError
from pi_cluster.transformer.text.tokenizer import Tokenizer

_MOST_FORCED = 256  # at a time; a constant of a schema may be as long as the schema
_KEPT_GRAMMARS = 64
# The library's own limits bound size and time; its errors must not repeat what was asked.
_LIMITS = LLParserLimits(verbose_errors=False)
_UNSUPPORTED = re.compile(r"[Uu]nimplemented keys?: *\[([^\]]*)\]")
_SHOWN_GRAMMAR = re.compile(r"\n +\d+ \| ")
_IN_THE_GRAMMAR = re.compile(r"^at \d+\(\d+\): (failed to compile JSON schema: )?")
_new_decoder = codecs.getincrementaldecoder("utf-8")
_LONGEST_REASON = 300


class Vocabulary:
    """A model's vocabulary as the library has it, built once and shared by all texts."""

    def __init__(self, tokenizer: Tokenizer, vocab_size: int, eos_ids: Collection[int]) -> None:
        """``vocab_size`` is the model's, which may have ids that the tokenizer has not.

        Takes from a quarter of a second, for 32 000 pieces, to a second or two for 131 000.
        """
        self.mask_bytes = -(-vocab_size // 8)
        spelling = _Spelling(tokenizer, vocab_size, min(eos_ids))
        self._library = LLTokenizer(cast(Any, spelling), eos_token=sorted(eos_ids))
        spelling.library = self._library
        self._spelling = spelling
        self._lock = threading.Lock()
        self._compiled = functools.lru_cache(_KEPT_GRAMMARS)(self._compile)
        self._eos_ids = frozenset(eos_ids)

    def constraint(self, grammar: str) -> "LlguidanceConstraint":
        """Follows an answer by ``grammar``.

        Compiling takes some milliseconds, and nothing for one that was asked for before. Raises
        `PromptError` with the library's reason where it cannot be followed.
        """
        with self._lock:
            matcher = self._compiled(grammar)
        return LlguidanceConstraint(
            matcher.deep_copy(), self.mask_bytes, self._eos_ids, self._spelling
        )

    @staticmethod
    def explained(error: PromptError, schema: object) -> str:
        """What of a schema cannot be followed, and where it stands if that is known."""
        if named := _UNSUPPORTED.search(str(error)):
            keywords = re.findall(r'"([^"]+)"', named[1])
            places = [place_of(keyword, schema) or keyword for keyword in keywords]
            return f"the schema's {', '.join(places)} cannot be followed: leave it out"
        return f"the schema cannot be followed: {error}"

    def _compile(self, grammar: str) -> LLMatcher:
        matcher = LLMatcher(self._library, grammar, log_level=0, limits=_LIMITS)
        if matcher.is_error():
            raise PromptError(_brief(matcher.get_error()))
        return matcher


class LlguidanceConstraint:
    """A `Constraint`. Which ids it allows is a pure function of the ids that were accepted."""

    def __init__(
        self,
        matcher: LLMatcher,
        mask_bytes: int,
        eos_ids: frozenset[int],
        spell: Callable[[bytes], Sequence[int]],
    ) -> None:
        self._spell = spell
        self._matcher = matcher
        self._mask_bytes = mask_bytes
        self._eos_ids = eos_ids

    def anew(self) -> "LlguidanceConstraint":
        """One that stands where this one does; from the beginning, it costs microseconds."""
        return LlguidanceConstraint(
            self._matcher.deep_copy(), self._mask_bytes, self._eos_ids, self._spell
        )

    @property
    def is_finished(self) -> bool:
        """Whether only the end may follow."""
        self._check()
        return self._matcher.is_stopped()

    def mask(self) -> bytes | None:
        """A little-endian bitset of the vocabulary: the ids that may come next."""
        mask = self._matcher.compute_bitmask()
        self._check()
        return mask[: self._mask_bytes]

    def forced(self) -> Sequence[int]:
        """Ids without a choice: those whose masks have one bit, one after the other."""
        forced: list[int] = []
        while len(forced) < _MOST_FORCED and not self._matcher.is_stopped():
            only = _only_id(self._matcher.compute_bitmask())
            if only is None or only in self._eos_ids or not self._matcher.consume_token(only):
                break
            forced.append(only)
        self._check()
        self.rollback(len(forced))
        return forced

    def likely(self) -> Sequence[int]:
        """Characters without a choice, whose ids may still be those of longer pieces.

        What objects and lists of JSON go on with is mostly a string: ``{"`` is one piece of most.
        """
        forced = self._matcher.compute_ff_bytes()
        self._check()
        try:  # it may end within a character, or begin in one
            forced = _new_decoder().decode(forced).encode()
        except UnicodeDecodeError:
            return ()
        if not forced:
            return ()
        spelt = self._spell(forced + b'"') if forced.endswith((b"{", b"[")) else ()
        if spelt and self.permitted(spelt) == len(spelt):
            return spelt
        return self._spell(forced)

    def permitted(self, ids: Sequence[int]) -> int:
        """How many of these may follow each other from here."""
        count = 0
        for token_id in ids:
            if token_id in self._eos_ids or self._matcher.is_stopped():
                break
            mask = self._matcher.compute_bitmask()
            if not _has(mask, token_id) or not self._matcher.consume_token(token_id):
                break
            count += 1
        self._check()
        self.rollback(count)
        return count

    def accept(self, token: int) -> None:
        """The text goes on with an id that was allowed."""
        self._matcher.consume_token(token)
        self._check()

    def rollback(self, count: int) -> None:
        """Take back the last ``count`` ids."""
        if count:
            self._matcher.rollback(count)
            self._check()

    def _check(self) -> None:
        if self._matcher.is_error():
            raise ConstraintError(
                f"the answer's form broke off: {_brief(self._matcher.get_error())}"
            )


class _Spelling:
    """What the library asks of a tokenizer: what each id adds to a text, and how one is spelt."""

    is_tokenizer_wrapper = True
    bos_token_id = None

    def __init__(self, tokenizer: Tokenizer, vocab_size: int, eos_id: int) -> None:
        self.eos_token_id = eos_id
        self.library: LLTokenizer | None = None
        self._tokenizer = tokenizer
        # Added tokens stand for themselves, never for the same text in pieces.
        added = {one.id for one in tokenizer.tokens.values()}
        self.tokens: list[bytes] = []
        self.special_token_ids: list[int] = []
        for token_id in range(vocab_size):
            if token_id in added or token_id == eos_id:
                self.tokens.append(f"<token {token_id}>".encode())
                self.special_token_ids.append(token_id)
            elif token_id == tokenizer.unk_id or token_id not in tokenizer:
                self.tokens.append(b"")  # stands for no text, and is never allowed
            elif tokenizer.is_control(token_id):
                self.tokens.append(b"")
            else:
                self.tokens.append(tokenizer.piece_bytes(token_id, continuation=True))

    def __call__(self, text: str | bytes) -> list[int]:
        spelt = text if isinstance(text, bytes) else text.encode()
        try:
            ids = self._tokenizer.encode(spelt.decode(), continuation=True)
        except (PromptError, UnicodeDecodeError):
            ids = []
        # Tokenizers that rewrite what they are given would have another text forced.
        if b"".join(self.tokens[one] for one in ids if one < len(self.tokens)) == spelt:
            return ids
        assert self.library is not None, "text is spelt before the vocabulary is built"
        return self.library.greedy_tokenize(spelt.decode())


def _only_id(mask: bytes) -> int | None:
    bits = int.from_bytes(mask, "little")
    return bits.bit_length() - 1 if bits and not bits & (bits - 1) else None


def _has(mask: bytes, token_id: int) -> bool:
    return 0 <= token_id < 8 * len(mask) and bool(mask[token_id >> 3] >> (token_id & 7) & 1)


def _brief(reason: str) -> str:
    """The library's reason without the grammar that it shows behind, and where in that it was."""
    told = _SHOWN_GRAMMAR.split(reason, maxsplit=1)[0]
    line = _IN_THE_GRAMMAR.sub("", " ".join(told.split()))
    return line if len(line) <= _LONGEST_REASON else line[: _LONGEST_REASON - 3] + "..."

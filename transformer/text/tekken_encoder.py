"""Pieces of a ``tekken.json``, Mistral's byte-pair encoding, by OpenAI's library ``tiktoken``.

The format is that of Mistral's library mistral-common (``tekken.py``). Special tokens come first:
the id of a piece is its rank and their number. Ranks beyond the model's vocabulary are left out.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from tiktoken import Encoding

from pi_cluster.transformer.errors import ModelError, PromptError, UnsupportedTokenizer
from pi_cluster.transformer.text.added_tokens import AddedToken
from pi_cluster.transformer.text.rust_panic import panics_as_errors

_MAX_PIECES = 1_000_000
_MAX_PATTERN_CHARS = 4_096
_MAX_PIECE_BYTES = 1_024
_BYTES = 256
# Of files without a list: those up to v7.
_SPECIAL = (
    *("<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]"),
    *("[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[TOOL_CALLS]", "[IMG]", "<pad>", "[IMG_BREAK]"),
    *("[IMG_END]", "[PREFIX]", "[MIDDLE]", "[SUFFIX]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"),
    "[TOOL_CONTENT]",
)


class TekkenEncoder:
    """The pieces of one file, and its special tokens."""

    marks_each_byte = False
    prefixes_each_part = False
    unk_id: int | None = None  # every byte has a piece

    def __init__(self, values: Mapping[str, Any], name: str) -> None:
        """Load what the file ``name`` holds; raises `ModelError`, which begins with the name."""
        self._name = name
        config = values.get("config")
        if not isinstance(config, dict):
            raise ModelError(f"{name} has no config; fetch it again")
        self.version = str(config.get("version"))
        self.vocab_size = _count(config, "default_vocab_size", name)
        self._first = _count(config, "default_num_special_tokens", name)
        self.special = _special_tokens(values.get("special_tokens"), self._first, name)
        self._pieces = _pieces(values.get("vocab"), self.vocab_size - self._first, name)
        self._ranks = {piece: rank for rank, piece in enumerate(self._pieces)}
        if len(self._ranks) < len(self._pieces):
            raise ModelError(f"{name} has a piece twice; fetch it again")
        pattern = config.get("pattern")
        if not isinstance(pattern, str) or len(pattern) > _MAX_PATTERN_CHARS:
            raise ModelError(f"{name} has no pattern, or a very long one; fetch it again")
        self._library = self._load(pattern)

    def encode(self, text: str, *, continuation: bool) -> list[int]:  # noqa: ARG002  no prefix
        """The ids of a text without special tokens; raises `PromptError` if that fails."""
        try:
            with panics_as_errors():
                ranks = self._library.encode_ordinary(text)
        # The library raises bare exceptions, for instance where the pattern takes too long.
        except Exception as error:
            raise PromptError(
                f"{self._name} cannot encode this text ({str(error)[:120]}): give token ids "
                "with --ids"
            ) from error
        return [rank + self._first for rank in ranks]

    def piece(self, token_id: int) -> str | None:
        """The text of a piece, or None where there is none of this id."""
        rank = token_id - self._first
        return self._pieces[rank].decode(errors="replace") if self._has(rank) else None

    def piece_to_id(self, piece: str) -> int | None:
        """The id of a piece that is spelt so, or None."""
        rank = self._ranks.get(piece.encode(errors="surrogatepass"))
        return None if rank is None else rank + self._first

    def piece_bytes(self, token_id: int, *, continuation: bool) -> bytes:  # noqa: ARG002  the same
        """What a piece adds to a text."""
        return self._pieces[token_id - self._first]

    def _has(self, rank: int) -> bool:
        return 0 <= rank < len(self._pieces)

    def _load(self, pattern: str) -> Encoding:
        try:
            with panics_as_errors():
                return Encoding(
                    self._name, pat_str=pattern, mergeable_ranks=self._ranks, special_tokens={}
                )
        except Exception as error:  # it raises no others than bare ones
            raise UnsupportedTokenizer(
                f"{self._name} has a pattern that the installed library `tiktoken` does not know "
                f"({str(error)[:120]})"
            ) from error


def _count(config: Mapping[str, Any], key: str, name: str) -> int:
    value = config.get(key)
    if type(value) is not int or not 0 <= value <= _MAX_PIECES:
        raise ModelError(f"{name} has {str(value)[:40]!r} as its {key}; fetch it again")
    return value


def _special_tokens(listed: Any, count: int, name: str) -> list[AddedToken]:
    spelt: list[Any] = list(_SPECIAL)
    if listed is not None:
        if not isinstance(listed, list):
            raise ModelError(f"{name} has no list of special_tokens; fetch it again")
        spelt = [token.get("token_str") if isinstance(token, dict) else None for token in listed]
        ranks = [token.get("rank") if isinstance(token, dict) else None for token in listed]
        if ranks != [*range(len(listed))]:
            raise ModelError(f"{name} counts its special_tokens in another order; fetch it again")
    if len(spelt) > count:
        raise ModelError(
            f"{name} has {len(spelt)} special_tokens and room for {count}; fetch it again"
        )
    spelt += [f"<SPECIAL_{rank}>" for rank in range(len(spelt), count)]
    if not all(isinstance(token, str) and 0 < len(token) <= 250 for token in spelt):
        raise ModelError(f"{name} has a special token without a spelling; fetch it again")
    if len(set(spelt)) < len(spelt):
        raise ModelError(f"{name} has a special token twice; fetch it again")
    return [AddedToken(rank, token) for rank, token in enumerate(spelt)]


def _pieces(vocabulary: Any, count: int, name: str) -> list[bytes]:
    if not isinstance(vocabulary, list) or not _BYTES <= count <= len(vocabulary):
        raise ModelError(f"{name} has fewer pieces than its config says; fetch it again")
    pieces = [_piece(entry, rank, name) for rank, entry in enumerate(vocabulary[:count])]
    if {*pieces[:_BYTES]} != {bytes([byte]) for byte in range(_BYTES)}:
        raise ModelError(f"{name} does not begin with a piece for each byte; fetch it again")
    return pieces


def _piece(entry: Any, rank: int, name: str) -> bytes:
    encoded = entry.get("token_bytes") if isinstance(entry, dict) else None
    try:
        if isinstance(encoded, str) and entry.get("rank") == rank:
            piece = base64.b64decode(encoded, validate=True)
            if 0 < len(piece) <= _MAX_PIECE_BYTES:
                return piece
    except binascii.Error:
        pass
    raise ModelError(f"{name} has no sound piece of rank {rank}; fetch it again")

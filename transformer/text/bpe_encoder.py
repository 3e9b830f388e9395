"""Pieces of a ``tokenizer.json``, by Hugging Face's library ``tokenizers``.

Two kinds of byte-pair encoding are read. A *byte-level* one (GPT-2's, of Llama 3, Qwen and SmolLM)
spells each byte as a visible character. One that is *like SentencePiece* (Llama 2, Mistral, Gemma)
spells a space as ``▁`` and has a piece such as ``<0xE2>`` for each byte that no piece covers.
"""

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

from tokenizers import Tokenizer

from pi_cluster.transformer.errors import ModelError, PromptError, UnsupportedTokenizer
from pi_cluster.transformer.text.bpe_file import BpeFile
from pi_cluster.transformer.text.rust_panic import RustPanic, panics_as_errors

_BYTE_PIECE = re.compile("<0x([0-9A-F]{2})>")
_FIRST_OF_OTHERS = 256
_NEEDED_BYTES = frozenset(b"\n" + bytes(range(0x20, 0x7F)))
_NO_MODEL = {"type": "BPE", "vocab": {}, "merges": []}


def _byte_characters() -> dict[str, int]:
    """The character by which GPT-2 (encoder.py) spells each byte, and which byte it is."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in visible]
    spelt = {chr(byte): byte for byte in visible}
    return spelt | {chr(_FIRST_OF_OTHERS + n): byte for n, byte in enumerate(others)}


BYTE_OF = _byte_characters()


class BpeEncoder:
    """The pieces of one file, the added tokens' left out."""

    def __init__(self, file: BpeFile, unspeakable: Collection[int]) -> None:
        """``unspeakable`` are ids of control tokens: no text is spelt with their pieces.

        Raises `UnsupportedTokenizer` for a part that the library does not know, or that could not
        be decoded by bytes.
        """
        self._file = file
        self._piece_of = {token_id: piece for piece, token_id in file.vocabulary.items()}
        self.vocab_size = max(self._piece_of, default=-1) + 1
        self.unk_id = file.unk_id
        self.marks_each_byte = not file.is_byte_level
        self.prefixes_each_part = file.prefixes_each_part
        self._lacking = self._bytes_without_a_piece()
        model = file.model_without(set(unspeakable) - {file.unk_id})
        self._whole_text = self._load(model, file.parts(continuation=False))
        rest = file.parts(continuation=True)
        self._rest = self._whole_text
        if rest != file.parts(continuation=False):
            self._rest = self._load(model, rest)

    def encode(self, text: str, *, continuation: bool) -> list[int]:
        """The ids of a text without added tokens; raises `PromptError` if it cannot be written."""
        self._require_pieces(text)
        library = self._rest if continuation else self._whole_text
        try:
            with panics_as_errors():
                ids: list[int] = library.encode(text, add_special_tokens=False).ids
        # The library raises bare exceptions, for instance where a pattern takes too long.
        except Exception as error:
            raise PromptError(
                f"{self._file.name} cannot encode this text ({_brief(error)}): give token ids "
                "with --ids"
            ) from error
        return ids

    def piece(self, token_id: int) -> str | None:
        """How the file spells a piece, or None where there is none of this id."""
        return self._piece_of.get(token_id)

    def piece_to_id(self, piece: str) -> int | None:
        """The id of a piece that is spelt so, or None."""
        return self._file.vocabulary.get(piece)

    def piece_bytes(self, token_id: int, *, continuation: bool) -> bytes:
        """What a piece adds to a text."""
        piece = self._piece_of[token_id]
        if self._file.is_byte_level:
            values = [BYTE_OF.get(character) for character in piece]
            # Pieces that hold other characters stand for themselves.
            return piece.encode() if None in values else bytes(v for v in values if v is not None)
        if byte := _BYTE_PIECE.fullmatch(piece):
            return bytes([int(byte[1], 16)])
        text = piece.replace("▁", " ")
        is_prefixed = not continuation and self._file.has_dummy_prefix
        return (text.removeprefix(" ") if is_prefixed else text).encode()

    def _bytes_without_a_piece(self) -> frozenset[int]:
        """The bytes that the library would drop silently.

        SmolLM2 lacks some that no text of people holds.
        """
        pieces, is_byte_level = self._file.vocabulary, self._file.is_byte_level
        if self.unk_id is not None:
            return frozenset()
        spelt = BYTE_OF if is_byte_level else {f"<0x{byte:02X}>": byte for byte in range(256)}
        lacking = frozenset(byte for piece, byte in spelt.items() if piece not in pieces)
        if lacking and not (is_byte_level and lacking.isdisjoint(_NEEDED_BYTES)):
            raise UnsupportedTokenizer(
                f"{self._file.name} has pieces neither for all bytes nor for what is unknown, so "
                "text would be lost"
            )
        return lacking

    def _require_pieces(self, text: str) -> None:
        if self._lacking and not self._lacking.isdisjoint(text.encode()):
            character = next(c for c in text if not self._lacking.isdisjoint(c.encode()))
            raise PromptError(
                f"the text holds U+{ord(character):04X}, which this model's tokenizer cannot "
                "write: leave it out"
            )

    def _load(self, model: Mapping[str, Any], parts: Mapping[str, Any]) -> Tokenizer:
        try:
            with panics_as_errors():
                return Tokenizer.from_str(_json(model, parts))
        except Exception as error:  # it raises no others than bare ones
            self._name_unknown_part(parts)
            raise ModelError(
                f"{self._file.name} is no sound tokenizer ({_brief(error)}); fetch it again"
            ) from error

    def _name_unknown_part(self, parts: Mapping[str, Any]) -> None:
        for name, part in parts.items():
            try:
                with panics_as_errors():
                    Tokenizer.from_str(_json(_NO_MODEL, {name: part}))
            except Exception as error:
                kind = part.get("type") if isinstance(part, dict) else None
                raise UnsupportedTokenizer(
                    f"{self._file.name} has a {name} ({_brief(kind)}) that the installed library "
                    f"`tokenizers` does not take ({_brief(error)})"
                ) from error


def _json(model: Mapping[str, Any], parts: Mapping[str, Any]) -> str:
    return json.dumps({"version": "1.0", "added_tokens": [], **parts, "model": model})


def _brief(error: Any) -> str:
    text = str(error) if isinstance(error, Exception | str) else repr(error)
    kind = "it gave up: " if isinstance(error, RustPanic) else ""
    return kind + (text if len(text) <= 120 else text[:117] + "...")

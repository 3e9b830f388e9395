"""Text to ids and back by pieces of bytes, and tokens that were added to them.

Libraries encode and know no added token: whoever asks them to find some finds them in what people
type as well. `ControlText` finds them instead, where the template wrote them.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Protocol

from pi_cluster.transformer.errors import PromptError
from pi_cluster.transformer.text.added_tokens import AddedToken
from pi_cluster.transformer.text.control_text import ControlText
from pi_cluster.transformer.text.tokenizer import require_ids
from pi_cluster.transformer.text.unicode_text import require_unicode


class Encoder(Protocol):
    """A library with a file's pieces."""

    vocab_size: int
    """One more than the last id of a piece."""
    unk_id: int | None
    marks_each_byte: bool
    prefixes_each_part: bool
    """Whether a dummy prefix also comes behind each token, as in the beginning."""

    def encode(self, text: str, *, continuation: bool) -> list[int]:
        """The ids of a text without added tokens; raises `PromptError` if it cannot be written."""
        ...

    def piece(self, token_id: int) -> str | None:
        """How the file spells a piece, or None where there is none of this id."""
        ...

    def piece_to_id(self, piece: str) -> int | None:
        """The id of a piece that is spelt so, or None."""
        ...

    def piece_bytes(self, token_id: int, *, continuation: bool) -> bytes:
        """What a piece adds to a text."""
        ...


class BytePairTokenizer:
    """A `Tokenizer` of an encoder's pieces and of added tokens, which redefine some of its ids."""

    def __init__(
        self,
        encoder: Encoder,
        added: Iterable[AddedToken],
        *,
        bos_id: int | None,
        eos_id: int | None,
        opening_ids: tuple[int, ...],
        closing_ids: tuple[int, ...] = (),
    ) -> None:
        """``opening_ids`` come before a text that is no chat, ``closing_ids`` may come behind."""
        self._encoder = encoder
        self.vocab_size = encoder.vocab_size
        self.bos_id, self.eos_id, self.unk_id = bos_id, eos_id, encoder.unk_id
        self.opening_ids: tuple[int, ...] | None = opening_ids
        self.closing_ids = closing_ids
        self.marks_each_byte = encoder.marks_each_byte
        self._added = {token.id: token for token in added}
        tokens = self._added.values()
        self.tokens: Mapping[str, AddedToken] = MappingProxyType({t.content: t for t in tokens})
        self.control_ids: Mapping[str, int] = MappingProxyType(
            {token.content: token.id for token in tokens if token.is_control}
        )
        self._control = frozenset(self.control_ids.values()) - {self.unk_id}
        words = [token for token in tokens if not token.is_control]
        self._words = ControlText(words) if words else None

    def encode(self, text: str, *, continuation: bool = False) -> list[int]:
        """The ids of ``text`` alone. Control spellings in it are plain text."""
        require_unicode(text)
        parts = self._words.split(text) if self._words else [(text, None)]
        return self.encode_parts(parts, continuation=continuation)

    def encode_parts(
        self, parts: Iterable[tuple[str, AddedToken | None]], *, continuation: bool = False
    ) -> list[int]:
        """The ids of texts, each with the token behind it, as `ControlText.split` gives them."""
        ids: list[int] = []
        for text, token in parts:
            if text:
                goes_on = not self._encoder.prefixes_each_part if ids else continuation
                pieces = self._encoder.encode(text, continuation=goes_on)
                if not self._control.isdisjoint(pieces):
                    raise PromptError(
                        "the text holds a character that this model's tokenizer cannot write, "
                        "because the checkpoint made a control token of its piece: leave it out"
                    )
                ids += pieces
            if token is not None:
                ids.append(token.id)
        return ids

    def __contains__(self, token_id: int) -> bool:
        """Whether the id stands for a piece or an added token."""
        return token_id in self._added or self._encoder.piece(token_id) is not None

    def piece_to_id(self, piece: str) -> int | None:
        """The id whose spelling is ``piece``, or None."""
        token = self.tokens.get(piece)
        token_id = token.id if token else self._encoder.piece_to_id(piece)
        is_redefined = token is None and token_id in self._added
        return None if is_redefined else token_id

    def id_to_piece(self, token_id: int) -> str:
        """The spelling of one id; raises `PromptError` outside the vocabulary."""
        require_ids([token_id], self, max([self.vocab_size - 1, *self._added]))
        token = self._added.get(token_id)
        return token.content if token else self._encoder.piece(token_id) or ""

    def is_control(self, token_id: int) -> bool:
        """Whether the id steers the model and stands for no text."""
        token = self._added.get(token_id)
        return token is not None and token.special

    def added_text(self, token_id: int) -> str | None:
        """The text of an added token, empty if it is special; None for other ids."""
        token = self._added.get(token_id)
        if token is None:
            return None
        return "" if token.special else token.content

    def piece_bytes(self, token_id: int, *, continuation: bool) -> bytes:
        """What a piece adds to a text in UTF-8; a broken character is possible."""
        return self._encoder.piece_bytes(token_id, continuation=continuation)

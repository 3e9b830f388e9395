"""What every tokenizer does, whatever library reads its file.

`sentencepiece_tokenizer.py` reads a ``tokenizer.model``; `byte_pair_tokenizer.py` is the others:
its pieces come from a ``tokenizer.json`` (`bpe_encoder.py`) or a ``tekken.json``
(`tekken_encoder.py`).
"""

from collections.abc import Iterable, Mapping
from typing import Protocol

from pi_cluster.transformer.errors import PromptError
from pi_cluster.transformer.text.added_tokens import AddedToken


class Tokenizer(Protocol):
    """A vocabulary of pieces, tokens added to it, and the ways from text to ids and back."""

    vocab_size: int
    """One more than the last id of a piece; added tokens may have ids from here on."""
    bos_id: int | None
    """Begins a text; None for a model that was trained without (Qwen)."""
    eos_id: int | None
    unk_id: int | None
    """What stands for text that no piece can write."""
    opening_ids: tuple[int, ...] | None
    """What comes before a text that is no chat; None where it is the model's id for a beginning."""
    closing_ids: tuple[int, ...]
    """What the tokenizer's file puts behind a text that is no chat, as those of models do that make
    vectors of texts; nothing is to be said behind it."""
    marks_each_byte: bool
    """Whether each byte of broken UTF-8 gives a U+FFFD, or the bytes of a character give one."""

    @property
    def tokens(self) -> Mapping[str, AddedToken]:
        """What a template can write by its spelling: control pieces and added tokens."""
        ...

    @property
    def control_ids(self) -> Mapping[str, int]:
        """Spelling to id of the tokens that steer the model. `encode` never yields these ids."""
        ...

    def encode(self, text: str, *, continuation: bool = False) -> list[int]:
        """The ids of ``text`` alone. Control spellings in it are plain text.

        With ``continuation`` it is taken as the rest of a text, without a dummy prefix. Raises
        `PromptError` where ``text`` is not valid Unicode, or cannot be written.
        """
        ...

    def encode_parts(
        self, parts: Iterable[tuple[str, AddedToken | None]], *, continuation: bool = False
    ) -> list[int]:
        """The ids of texts, each with the token behind it, as `ControlText.split` gives them."""
        ...

    def __contains__(self, token_id: int) -> bool:
        """Whether the id stands for a piece or an added token."""
        ...

    def piece_to_id(self, piece: str) -> int | None:
        """The id whose spelling is ``piece``, or None."""
        ...

    def id_to_piece(self, token_id: int) -> str:
        """The spelling of one id; raises `PromptError` outside the vocabulary."""
        ...

    def is_control(self, token_id: int) -> bool:
        """Whether the id steers the model and stands for no text."""
        ...

    def added_text(self, token_id: int) -> str | None:
        """The text of an added token, empty if it is special; None for other ids."""
        ...

    def piece_bytes(self, token_id: int, *, continuation: bool) -> bytes:
        """What a piece adds to a text in UTF-8: perhaps a part of a character, or nothing.

        Without ``continuation`` it is the first of the text.
        """
        ...


def require_ids(ids: Iterable[int], vocabulary: Tokenizer, last_id: int) -> None:
    """Raise `PromptError` for the first id that is not in the vocabulary, which has a last one."""
    for index, token_id in enumerate(ids):
        if token_id not in vocabulary:
            raise PromptError(
                f"token id {token_id} (number {index}) is not in the vocabulary: "
                f"ids run from 0 to {last_id}"
            )

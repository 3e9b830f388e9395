"""Text to ids and back, by the SentencePiece model that belongs to a checkpoint.

SentencePiece (arXiv:1808.06226) writes a space as ``▁`` and puts one in front of every text it is
given, so that a word has one spelling at the start of a text and inside it. That *dummy prefix* is
right for a whole text and wrong for the rest of one: what follows a control token, or what a model
adds to a prompt, is encoded and decoded as a **continuation**, without it.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

from sentencepiece import SentencePieceProcessor

from transformer.errors import ModelError, PromptError

# A protobuf message may be cut in two and joined again: of a field that occurs twice, the later
# value holds. These bytes are the ModelProto {normalizer_spec {add_dummy_prefix: false}}.
_WITHOUT_DUMMY_PREFIX = b"\x1a\x02\x18\x00"


def require_unicode(text: str) -> None:
    """Raise `PromptError` where ``text`` holds lone surrogates: it then has no UTF-8 form."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise PromptError(
            f"the text is not valid Unicode: character {error.start} is the lone surrogate "
            f"U+{ord(text[error.start]):04X}; send it as valid UTF-8"
        ) from error


class Tokenizer:
    """One SentencePiece model: its vocabulary, and both directions of the translation."""

    def __init__(self, model: bytes, name: str) -> None:
        """Load ``model``, the bytes of a ``tokenizer.model``; errors call it ``name``."""
        self._whole_text = _load(model, name)
        self._continuation = _load(model + _WITHOUT_DUMMY_PREFIX, name)
        self.vocab_size: int = self._whole_text.vocab_size()
        self.bos_id: int = self._whole_text.bos_id()
        self.eos_id: int = self._whole_text.eos_id()
        if self.bos_id < 0 or self.eos_id < 0:
            raise ModelError(f"{name}: the tokenizer has no <s> or no </s>; it is not Mistral's")

    @classmethod
    def from_file(cls, path: str | Path) -> "Tokenizer":
        """Load a ``tokenizer.model``; `ModelError` names the file where it cannot be read."""
        try:
            model = Path(path).read_bytes()
        except OSError as error:
            raise ModelError(f"{path}: cannot read the tokenizer: {error.strerror}") from error
        return cls(model, str(path))

    @classmethod
    def from_bytes(cls, model: bytes, name: str = "tokenizer.model") -> "Tokenizer":
        """Load the contents of a ``tokenizer.model``; errors call it ``name``."""
        return cls(model, name)

    @cached_property
    def control_ids(self) -> Mapping[str, int]:
        """Spelling to id of the control pieces. `encode` never yields these ids."""
        model = self._whole_text
        ids = (i for i in range(self.vocab_size) if model.is_control(i))
        return MappingProxyType({model.id_to_piece(i): i for i in ids})

    def encode(self, text: str, *, continuation: bool = False) -> list[int]:
        """The ids of ``text``, without ``<s>``. Control spellings in it are plain text.

        With ``continuation`` the text is taken as the rest of one, and gets no dummy prefix:
        ``encode("hi") == encode(" hi", continuation=True)``. Raises `PromptError` where ``text``
        is not valid Unicode.
        """
        require_unicode(text)
        ids: list[int] = self._model(continuation).encode(text)
        return ids

    def decode(self, ids: Sequence[int], *, continuation: bool = False) -> str:
        """The text of ``ids``; control pieces give nothing, broken UTF-8 gives U+FFFD.

        With ``continuation`` the space of the dummy prefix is kept. Raises `PromptError` for an
        id outside the vocabulary.
        """
        self.check_ids(ids)
        text: str = self._model(continuation).decode(list(ids))
        return text

    def check_ids(self, ids: Sequence[int]) -> None:
        """Raise `PromptError` for the first id that is not in the vocabulary."""
        for index, token_id in enumerate(ids):
            if not 0 <= token_id < self.vocab_size:
                raise PromptError(
                    f"token id {token_id} (number {index}) is not in the vocabulary: "
                    f"ids run from 0 to {self.vocab_size - 1}"
                )

    def piece_to_id(self, piece: str) -> int | None:
        """The id whose spelling is ``piece`` (``▁`` for a space), or None."""
        token_id: int = self._whole_text.piece_to_id(piece)
        return token_id if self._whole_text.id_to_piece(token_id) == piece else None

    def id_to_piece(self, token_id: int) -> str:
        """The spelling of one id; raises `PromptError` outside the vocabulary."""
        self.check_ids([token_id])
        piece: str = self._whole_text.id_to_piece(token_id)
        return piece

    def is_control(self, token_id: int) -> bool:
        """Whether the id steers the model and stands for no text."""
        return bool(self._whole_text.is_control(token_id))

    def byte_value(self, token_id: int) -> int | None:
        """The byte 0..255 that a byte-fallback piece such as ``<0xE2>`` stands for, or None."""
        if not self._whole_text.is_byte(token_id):
            return None
        return int(self._whole_text.id_to_piece(token_id)[3:5], 16)

    def _model(self, continuation: bool) -> SentencePieceProcessor:
        return self._continuation if continuation else self._whole_text


def _load(model: bytes, name: str) -> SentencePieceProcessor:
    # SentencePiece takes no bytes for "load nothing" and fails much later.
    if not model.removesuffix(_WITHOUT_DUMMY_PREFIX):
        raise ModelError(f"{name}: the tokenizer file is empty; fetch it again")
    try:
        return SentencePieceProcessor(model_proto=model)
    except (RuntimeError, ValueError) as error:
        raise ModelError(
            f"{name}: this is no SentencePiece model, or only a part of one; fetch it again"
        ) from error

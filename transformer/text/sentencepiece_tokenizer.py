"""Text to ids and back, by the SentencePiece model that belongs to a checkpoint.

SentencePiece (arXiv:1808.06226) writes a space as ``▁`` and puts one in front of every text it is
given, so that a word has one spelling at the start of a text and inside it. That *dummy prefix* is
right for a whole text and wrong for the rest of one: what follows a control token, or what a model
adds to a prompt, is encoded and decoded as a **continuation**, without it. Checkpoints whose
``tokenizer_config.json`` says ``legacy`` were trained with it behind each token all the same.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import groupby
from pathlib import Path
from types import MappingProxyType

from sentencepiece import SentencePieceProcessor

from pi_cluster.transformer.errors import ModelError, PromptError
from pi_cluster.transformer.text.added_tokens import AddedToken
from pi_cluster.transformer.text.control_text import ControlText
from pi_cluster.transformer.text.sentencepiece_file import WITHOUT_DUMMY_PREFIX, with_pieces_unused
from pi_cluster.transformer.text.tokenizer import require_ids
from pi_cluster.transformer.text.unicode_text import require_unicode


class SentencePieceTokenizer:
    """A vocabulary, which is a SentencePiece model and tokens added to it, and both directions."""

    def __init__(
        self,
        model: bytes,
        name: str,
        added: Iterable[AddedToken] = (),
        *,
        legacy: bool = False,
    ) -> None:
        """Load ``model``, the bytes of a ``tokenizer.model``; errors call it ``name``.

        ``added`` may lie behind the vocabulary of ``model`` or redefine ids of it.
        """
        self._whole_text = _load(model, name)
        self.vocab_size: int = self._whole_text.vocab_size()
        self.bos_id: int | None = self._whole_text.bos_id()
        self.eos_id: int | None = self._whole_text.eos_id()
        if min(self._whole_text.bos_id(), self._whole_text.eos_id()) < 0:
            raise ModelError(f"{name}: the tokenizer has no <s> or no </s>; it is not Mistral's")
        unk_id: int = self._whole_text.unk_id()
        self.unk_id = unk_id if unk_id >= 0 else None
        self.opening_ids: tuple[int, ...] | None = None
        self.closing_ids: tuple[int, ...] = ()
        self.marks_each_byte = True
        self.legacy = legacy
        self._added = {token.id: token for token in added}
        taken = {token.id for token in self._added.values() if self._is_redefined(token)}
        self._unspeakable = {i for i in taken if self._whole_text.is_byte(i)}
        if taken > self._unspeakable:
            # Else SentencePiece would spell the text of people with them.
            model = with_pieces_unused(model, taken - self._unspeakable)
            self._whole_text = _load(model, name)
        self._continuation = _load(model + WITHOUT_DUMMY_PREFIX, name)
        words = [token for token in self._added.values() if not token.is_control]
        self._words = ControlText(words) if words else None

    @classmethod
    def from_file(
        cls, path: str | Path, added: Iterable[AddedToken] = (), *, legacy: bool = False
    ) -> "SentencePieceTokenizer":
        """Load a ``tokenizer.model``; `ModelError` names the file where it cannot be read."""
        try:
            model = Path(path).read_bytes()
        except OSError as error:
            raise ModelError(f"{path}: cannot read the tokenizer: {error.strerror}") from error
        return cls(model, str(path), added, legacy=legacy)

    @cached_property
    def tokens(self) -> Mapping[str, AddedToken]:
        """What a template can write by its spelling: control pieces and added tokens."""
        model = self._whole_text
        ids = (i for i in range(self.vocab_size) if model.is_control(i) and i not in self._added)
        pieces = {model.id_to_piece(i): AddedToken(i, model.id_to_piece(i)) for i in ids}
        return MappingProxyType(pieces | {token.content: token for token in self._added.values()})

    @cached_property
    def control_ids(self) -> Mapping[str, int]:
        """Spelling to id of the tokens that steer the model. `encode` never yields these ids."""
        tokens = self.tokens.values()
        return MappingProxyType({token.content: token.id for token in tokens if token.is_control})

    def encode(self, text: str, *, continuation: bool = False) -> list[int]:
        """The ids of ``text``, without ``<s>``. Control spellings in it are plain text.

        With ``continuation`` the text is taken as the rest of one, and gets no dummy prefix:
        ``encode("hi") == encode(" hi", continuation=True)``. Raises `PromptError` where ``text``
        is not valid Unicode.
        """
        require_unicode(text)
        parts = self._words.split(text) if self._words else [(text, None)]
        return self.encode_parts(parts, continuation=continuation)

    def encode_parts(
        self, parts: Iterable[tuple[str, AddedToken | None]], *, continuation: bool = False
    ) -> list[int]:
        """The ids of texts, each with the token behind it, as `ControlText.split` gives them."""
        ids: list[int] = []
        for text, token in parts:
            model = self._model(not self.legacy if ids else continuation)
            pieces: list[int] = model.encode(text)
            if not self._unspeakable.isdisjoint(pieces):
                raise PromptError(
                    "the text holds a character that this model's tokenizer cannot write, because "
                    "the checkpoint gave its byte to a control token: leave it out"
                )
            ids += pieces
            if token is not None:
                ids.append(token.id)
        return ids

    def decode(self, ids: Sequence[int], *, continuation: bool = False) -> str:
        """The text of ``ids``; control pieces give nothing, broken UTF-8 gives U+FFFD.

        Of added tokens, special ones give nothing and others their spelling. With ``continuation``
        the space of the dummy prefix is kept. Raises `PromptError` for an id outside the
        vocabulary.
        """
        self.check_ids(ids)
        text = ""
        for is_added, run in groupby(ids, self._added.__contains__):
            if is_added:
                spelt = "".join(self.added_text(token_id) or "" for token_id in run)
            else:
                pieces = list(run)
                spelt = self._model(continuation).decode(pieces)
                continuation |= not all(map(self._whole_text.is_control, pieces))
            text += spelt
            continuation |= bool(spelt)
        return text

    def check_ids(self, ids: Iterable[int]) -> None:
        """Raise `PromptError` for the first id that is not in the vocabulary."""
        require_ids(ids, self, max([self.vocab_size - 1, *self._added]))

    def __contains__(self, token_id: int) -> bool:
        """Whether the id stands for a piece or an added token."""
        return 0 <= token_id < self.vocab_size or token_id in self._added

    def piece_to_id(self, piece: str) -> int | None:
        """The id whose spelling is ``piece`` (``▁`` for a space), or None."""
        if piece in self.tokens:
            return self.tokens[piece].id
        token_id: int = self._whole_text.piece_to_id(piece)
        return token_id if self.id_to_piece(token_id) == piece else None

    def id_to_piece(self, token_id: int) -> str:
        """The spelling of one id; raises `PromptError` outside the vocabulary."""
        self.check_ids([token_id])
        if token_id in self._added:
            return self._added[token_id].content
        piece: str = self._whole_text.id_to_piece(token_id)
        return piece

    def is_control(self, token_id: int) -> bool:
        """Whether the id steers the model and stands for no text."""
        if token_id in self._added:
            return self._added[token_id].special
        return bool(self._whole_text.is_control(token_id))

    def added_text(self, token_id: int) -> str | None:
        """The text of an added token, empty if it is special; None for other ids."""
        token = self._added.get(token_id)
        if token is None:
            return None
        return "" if token.special else token.content

    def piece_bytes(self, token_id: int, *, continuation: bool) -> bytes:
        """What a piece adds to a text: of a byte-fallback piece such as ``<0xE2>`` its byte."""
        if self._whole_text.is_byte(token_id):
            return bytes([int(self._whole_text.id_to_piece(token_id)[3:5], 16)])
        text: str = self._model(continuation).decode([token_id])
        return text.encode()

    def _is_redefined(self, token: AddedToken) -> bool:
        """Whether text that is none of the token's would be spelt with its id."""
        model, i = self._whole_text, token.id
        if i >= self.vocab_size or model.is_control(i) or model.is_unknown(i) or model.is_unused(i):
            return False
        same = model.id_to_piece(i) == token.content
        return not same or (token.is_control and len(token.content) > 1)

    def _model(self, continuation: bool) -> SentencePieceProcessor:
        return self._continuation if continuation else self._whole_text


def _load(model: bytes, name: str) -> SentencePieceProcessor:
    # SentencePiece takes no bytes for "load nothing" and fails much later.
    if not model.removesuffix(WITHOUT_DUMMY_PREFIX):
        raise ModelError(f"{name}: the tokenizer file is empty; fetch it again")
    try:
        return SentencePieceProcessor(model_proto=model)
    except (RuntimeError, ValueError) as error:
        raise ModelError(
            f"{name}: this is no SentencePiece model, or only a part of one; fetch it again"
        ) from error

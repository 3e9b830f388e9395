"""Between people's text and a model's token ids, as far as its store has files for it."""

import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pi_cluster.cluster.store.manifest import Manifest
from pi_cluster.coordinator.answer_text import AnswerText
from pi_cluster.coordinator.calling.call_format import CallFormat
from pi_cluster.coordinator.calling.finding import find_format
from pi_cluster.coordinator.calling.generic import Generic
from pi_cluster.coordinator.constraining.building import build_vocabulary
from pi_cluster.coordinator.pooling import Pooling
from pi_cluster.transformer.errors import ModelError, PromptError
from pi_cluster.transformer.text.chat_template import ChatTemplate
from pi_cluster.transformer.text.detokenizer import IncrementalDetokenizer, shown_bytes
from pi_cluster.transformer.text.text_files import TOKENIZERS, TextFiles
from pi_cluster.transformer.text.thoughts import CLOSING, OPENING, begins_in_thought
from pi_cluster.transformer.text.tokenizer import Tokenizer
from pi_cluster.transformer.text.unicode_text import require_unicode

if TYPE_CHECKING:
    from pi_cluster.coordinator.constraining.llguidance_constraint import Vocabulary

Message = Mapping[str, Any]
"""``{"role": "user" | "assistant" | "system" | "tool", "content": ...}``, as OpenAI has it."""

_ENOUGH_IDS = 12  # of a prompt's end, for a tag that is spelt in pieces


class TextModel:
    """Encodes prompts and chats, and decodes answers.

    Each file is read when something needs it: without a tokenizer that can be read, a model still
    takes ids, and without a sound chat template it still continues a text. Every method that needs
    what is not there raises ``PromptError``, which says what works without it.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        """Nothing is read yet; the files lie in ``folder`` under their names in the store."""
        paths = {file.name: folder / file.name for file in manifest.tokenizer_files}
        self._bos_id = manifest.bos_id
        self._eos_ids = frozenset(manifest.eos_ids)
        self._building = threading.Lock()
        self._vocabulary: Vocabulary | None = None
        self._call_format: CallFormat | None = None
        self._lists_tokenizer = not paths.keys().isdisjoint(TOKENIZERS)
        self._vocab_size = int(manifest.config["vocab_size"])
        self._files = TextFiles(paths, self._vocab_size, manifest.tokenizer_name)

    @property
    def has_tokenizer(self) -> bool:
        """Whether the model can read and write text at all."""
        return self._lists_tokenizer and self.fault is None

    @property
    def has_chat_template(self) -> bool:
        """Whether the model knows turns of a conversation."""
        return self.has_tokenizer and self._files.has_template

    @property
    def can_think(self) -> bool:
        """Whether the model thinks before it answers, always or where it is told to."""
        template = self._readable_template()
        return template is not None and template.can_think

    @property
    def can_switch_thinking(self) -> bool:
        """Whether it can be told to think before it answers, or not to."""
        template = self._readable_template()
        return template is not None and template.can_switch_thinking

    @property
    def fault(self) -> str | None:
        """Why the tokenizer of the store cannot be used, if it cannot."""
        try:
            _ = self._files.tokenizer
        except ModelError as error:
            return str(error)
        return None

    def raw_ids(self, text: str) -> list[int]:
        """Ids of a text that the model is to continue."""
        return self.text_ids(text, opening=True) if text else []

    def text_ids(self, text: str, *, opening: bool) -> list[int]:
        """Ids of a text, behind those that begin every text if ``opening``."""
        require_unicode(text)
        return [*(self.opening_ids if opening else ()), *self._tokenizer().encode(text)]

    @property
    def opening_ids(self) -> tuple[int, ...]:
        """Those that begin every text."""
        known = self._tokenizer().opening_ids
        if known is not None:
            return tuple(known)
        return () if self._bos_id is None else (self._bos_id,)

    def token_bytes(self, token_id: int, *, continuation: bool) -> bytes:
        """The bytes that one id stands for; of a control token those of its spelling.

        Without ``continuation`` it is the first of an answer, whose dummy space does not count.
        """
        tokenizer = self._tokenizer()
        if token_id not in tokenizer:
            return "\ufffd".encode()
        if tokenizer.added_text(token_id) is not None or tokenizer.is_control(token_id):
            return tokenizer.id_to_piece(token_id).encode()
        return tokenizer.piece_bytes(token_id, continuation=continuation)

    def shown_bytes(self, token_id: int) -> bytes:
        """The bytes that one id adds to an answer's text; none for a control token."""
        return shown_bytes(self._tokenizer(), token_id)

    def text_of(self, ids: Sequence[int]) -> str:
        """The text that ids stand for; control tokens have none."""
        tokenizer = self._tokenizer()
        for token_id in ids:
            if not 0 <= token_id < self._vocab_size:
                raise PromptError(
                    f"token id {token_id} is outside the vocabulary 0..{self._vocab_size - 1}"
                )
        detokenizer = IncrementalDetokenizer(tokenizer, continuation=False)
        return "".join([*map(detokenizer.push, ids), detokenizer.finish()])

    def embedded_ids(self, text: str, pooling: Pooling, most: int | None = None) -> list[int]:
        """Ids of a text that is to become a vector; the last token's tells that it has ended.

        Of a text of more than ``most`` the words at its end are left off, never what ends it.
        What ends it is what the tokenizer's file has, as Qwen3-Embedding's has its own; else, for a
        model whose last state counts, what ends an answer, as e5-mistral was trained.
        """
        tokenizer = self._tokenizer()
        closing = tokenizer.closing_ids
        if not closing and pooling is Pooling.LAST and tokenizer.eos_id is not None:
            closing = (tokenizer.eos_id,)
        room = None if most is None else max(1, most - len(closing))
        return [*self.raw_ids(text)[:room], *closing]

    def chat_text(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()
    ) -> str:
        """A conversation as the chat template writes it, whose next turn is the model's."""
        self._tokenizer()
        return self._template().render(messages, tools)

    def chat_ids(
        self,
        messages: Sequence[Message],
        think: bool | None = None,
        tools: Sequence[Mapping[str, Any]] = (),
        *,
        continues: bool = False,
    ) -> list[int]:
        """Ids of a conversation whose next turn is the model's.

        ``think`` has it think before that or not; None leaves it to the template. ``tools`` are
        what it may call, in OpenAI's words, if it `takes_tools`. With ``continues`` the last turn
        is the model's, and it goes on with that.
        """
        self._tokenizer()
        return self._template().encode(messages, think=think, tools=tools, continues=continues)

    def begins_in_thought(self, prompt_ids: Sequence[int]) -> bool:
        """Whether an answer to this prompt goes on with a thought that the prompt begins."""
        if not self.has_tokenizer:
            return False
        detokenizer = IncrementalDetokenizer(self._tokenizer(), continuation=True)
        end = prompt_ids[-_ENOUGH_IDS:]
        return begins_in_thought("".join([*map(detokenizer.push, end), detokenizer.finish()]))

    def vocabulary(self) -> "Vocabulary":
        """What constrains answers, built when it is first asked for; any thread may ask.

        Raises ``PromptError`` where there is no text to constrain, or the library is not installed.
        """
        tokenizer = self._tokenizer()
        with self._building:
            if self._vocabulary is None:
                self._vocabulary = build_vocabulary(
                    tokenizer, self._files.vocab_size, self._eos_ids
                )
        return self._vocabulary

    def thought_ids(self) -> tuple[int | None, int | None]:
        """The added tokens that open and close a thought, as far as there are such."""
        tokens = self._tokenizer().tokens
        opening, closing = tokens.get(OPENING), tokens.get(CLOSING)
        return opening.id if opening else None, closing.id if closing else None

    def answer(
        self, stops: Sequence[str], *, raw: bool, marks: Mapping[int, str] | None = None
    ) -> AnswerText | None:
        """Takes an answer's ids; None when the model has no text at all.

        ``marks`` are the text of these ids.
        """
        if not self.has_tokenizer and not stops:
            return None
        detokenizer = IncrementalDetokenizer(self._tokenizer(), continuation=raw, marks=marks)
        return AnswerText(detokenizer, stops)

    @property
    def takes_tools(self) -> bool:
        """Whether the model was taught to call tools, in a form that is known here."""
        return self.has_chat_template and not isinstance(self.call_format(), Generic)

    def call_format(self) -> CallFormat:
        """How the model calls tools."""
        with self._building:
            if self._call_format is None:
                template = self._template() if self.has_chat_template else None
                self._call_format = find_format(self._tokenizer(), template)
        return self._call_format

    def _tokenizer(self) -> Tokenizer:
        if self.fault:
            raise PromptError(
                f"this model cannot read text: {self.fault}. Mend the checkpoint, `pi-cluster "
                "shard` and `up` it again, or give token ids with --ids"
            )
        if self._files.tokenizer is None:
            raise PromptError(
                "this model's store has no tokenizer that can be read (tokenizer.model, "
                "tekken.json or tokenizer.json), so it cannot read text: add its tokenizer to the "
                "checkpoint and shard it again, or give token ids with --ids"
            )
        return self._files.tokenizer

    def _readable_template(self) -> ChatTemplate | None:
        with suppress(ModelError):
            return self._files.template if self.has_chat_template else None
        return None

    def _template(self) -> ChatTemplate:
        try:
            template = self._files.template
        except ModelError as error:
            raise PromptError(
                f"{self._files.template_name}: {error}. `prompt --raw` continues a text "
                "without it; else mend the checkpoint, `shard` and `up` it again"
            ) from error
        if template is None:
            raise PromptError(
                "this model's store has no chat template: use `prompt --raw`, "
                "which continues a text"
            )
        return template

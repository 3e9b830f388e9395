"""Between people's text and a model's token ids, as far as its store has files for it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cluster.errors import StoreError
from cluster.manifest import Manifest
from coordinator.answer import AnswerText
from transformer.chat_template import ChatTemplate, template_for_tokenizer
from transformer.detokenizer import IncrementalDetokenizer
from transformer.errors import PromptError
from transformer.tokenizer import Tokenizer, require_unicode

_MAX_CONFIG_BYTES = 16_000_000

Message = Mapping[str, str]
"""``{"role": "user" | "assistant" | "system", "content": ...}``"""


class TextModel:
    """Encodes prompts and chats, and decodes answers.

    A store without ``tokenizer.model`` can still be prompted with ids; every method that needs
    text then raises ``PromptError``.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        """Read the tokenizer's files, which lie in ``folder`` under their names in the store."""
        names = {file.name for file in manifest.tokenizer_files}
        self._bos_id = manifest.bos_id
        self._tokenizer: Tokenizer | None = None
        self._template: ChatTemplate | None = None
        if "tokenizer.model" in names:
            self._tokenizer = Tokenizer.from_file(folder / "tokenizer.model")
            vocab_size = int(manifest.config["vocab_size"])
            if self._tokenizer.vocab_size > vocab_size:
                raise StoreError(
                    f"the tokenizer has {self._tokenizer.vocab_size} pieces and the model only "
                    f"{vocab_size}: shard the checkpoint with its own tokenizer"
                )
            self._template = _find_template(folder, names, manifest, self._tokenizer)

    @property
    def has_tokenizer(self) -> bool:
        """Whether the model can read and write text at all."""
        return self._tokenizer is not None

    @property
    def has_chat_template(self) -> bool:
        """Whether the model knows turns of a conversation."""
        return self._template is not None

    def raw_ids(self, text: str) -> list[int]:
        """Ids of a text that the model is to continue."""
        require_unicode(text)
        return [self._bos_id, *self._needed().encode(text)] if text else []

    def chat_ids(self, messages: Sequence[Message]) -> list[int]:
        """Ids of a conversation whose next turn is the model's."""
        self._needed()
        if self._template is None:
            raise PromptError(
                "this model's store has no chat template: use `prompt --raw`, "
                "which continues a text"
            )
        return self._template.encode(messages)

    def answer(self, stops: Sequence[str], *, raw: bool) -> AnswerText | None:
        """Takes an answer's ids; None when the model has no text at all."""
        if self._tokenizer is None:
            if stops:
                self._needed()
            return None
        return AnswerText(IncrementalDetokenizer(self._tokenizer, continuation=raw), stops)

    def _needed(self) -> Tokenizer:
        if self._tokenizer is None:
            raise PromptError(
                "this model's store has no SentencePiece file (tokenizer.model), so it cannot "
                "read text: give token ids with --ids"
            )
        return self._tokenizer


def _find_template(
    folder: Path, names: set[str], manifest: Manifest, tokenizer: Tokenizer
) -> ChatTemplate | None:
    """The checkpoint's own template, or ours for a tokenizer of Mistral's that we know."""
    config: dict[str, Any] = {}
    if "tokenizer_config.json" in names:
        config = _read_object(folder / "tokenizer_config.json")
    if "chat_template.jinja" in names:
        config["chat_template"] = _read_text(folder / "chat_template.jinja")
    if config.get("chat_template"):
        return ChatTemplate.from_tokenizer_config(config, tokenizer)
    source = template_for_tokenizer(manifest.tokenizer_name or "tokenizer.model", tokenizer)
    return ChatTemplate(source, tokenizer) if source else None


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_CONFIG_BYTES).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"cannot read {path}: {error}") from None


def _read_object(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(_read_text(path))
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{path} is not JSON ({error})") from None
    if not isinstance(values, dict):
        raise StoreError(f"{path} is not a JSON object")
    return values

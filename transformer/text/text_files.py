"""The files by which a checkpoint's text is read, opened when they are needed.

`shard` tries them where the checkpoint keeps them, and `prompt` reads them where `up` put them:
both through this class, so that what was tried is what is used.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from pi_cluster.transformer.checkpoint_file import read_bytes, read_object, read_text
from pi_cluster.transformer.errors import ModelError
from pi_cluster.transformer.text.added_tokens import (
    CONFIG_KEY,
    AddedToken,
    read_added_tokens,
    special_tokens,
)
from pi_cluster.transformer.text.chat_template import ChatTemplate, template_for_tokenizer
from pi_cluster.transformer.text.tokenizer import Tokenizer

MODEL = "tokenizer.model"
CONFIG = "tokenizer_config.json"
TEMPLATE = "chat_template.jinja"
ADDED = "added_tokens.json"
SPECIAL_MAP = "special_tokens_map.json"
TOKENIZER_JSON = "tokenizer.json"


class TextFiles:
    """Files by their names in a store. Each `ModelError` names the file as ``paths`` has it."""

    def __init__(self, paths: Mapping[str, Path], vocab_size: int, model_name: str | None) -> None:
        """``vocab_size`` is the model's, ``model_name`` the checkpoint's name of tokenizer.model.

        Mistral ends it with the version of its chat format, as in ``tokenizer.model.v3``.
        """
        self._paths = paths
        self.vocab_size = vocab_size
        self._model_name = model_name or MODEL

    @cached_property
    def tokenizer(self) -> Tokenizer | None:
        """The tokenizer with its added tokens, or None where there is no ``tokenizer.model``.

        Raises `ModelError` where a file is torn, of another kind, or does not fit the model.
        """
        if MODEL not in self._paths:
            return None
        path = self._paths[MODEL]
        usable = [token for token in self.added_tokens if token.id < self.vocab_size]
        tokenizer = Tokenizer(read_bytes(path), str(path), usable, legacy=self._is_legacy)
        if tokenizer.vocab_size > self.vocab_size:
            raise ModelError(
                f"{path} has {tokenizer.vocab_size} pieces and the model only {self.vocab_size}: "
                "it belongs to another model; fetch the checkpoint's own"
            )
        return tokenizer

    @property
    def used_names(self) -> frozenset[str]:
        """The files that are of use, as names in a store."""
        names = {MODEL, CONFIG, TEMPLATE}
        if MODEL in self._paths and CONFIG_KEY not in self._config:
            names |= {ADDED, SPECIAL_MAP, TOKENIZER_JSON}
        return frozenset(names & self._paths.keys())

    @cached_property
    def added_tokens(self) -> list[AddedToken]:
        """All added tokens, also those whose ids the model does not have."""
        try:
            return read_added_tokens(
                self._config,
                self._special_map,
                self._json(ADDED),
                {} if CONFIG_KEY in self._config else self._json(TOKENIZER_JSON),
            )
        except ModelError as error:
            raise ModelError(f"{self._paths.get(CONFIG, ADDED)}: {error}") from error

    @property
    def special_tokens(self) -> dict[str, str]:
        """The spellings of special tokens by their names, such as ``eos_token``."""
        return special_tokens(self._config, self._special_map)

    @property
    def template_name(self) -> str | None:
        """Where the checkpoint's own chat template stands, or None where it has none."""
        if TEMPLATE in self._paths:
            return str(self._paths[TEMPLATE])
        return (
            f"chat_template of {self._paths[CONFIG]}" if self._config.get("chat_template") else None
        )

    @property
    def has_template(self) -> bool:
        """Whether there is a chat template, the checkpoint's own or a known one."""
        return self.template_name is not None or self._known_template is not None

    @cached_property
    def template(self) -> ChatTemplate | None:
        """The checkpoint's own chat template, or ours for a tokenizer of Mistral's that we know.

        Raises `ModelError` where it is torn or no valid template.
        """
        tokenizer = self.tokenizer
        if tokenizer is None or not self.has_template:
            return None
        source: Any = self._known_template
        if TEMPLATE in self._paths:
            source = read_text(self._paths[TEMPLATE])
        elif self.template_name:
            source = self._config["chat_template"]
        return ChatTemplate(source, tokenizer, self.special_tokens)

    @cached_property
    def json_vocabulary(self) -> dict[str, int]:
        """Pieces and ids by tokenizer.json, where it is there, can be read and has them."""
        with suppress(ModelError):
            model = self._json(TOKENIZER_JSON).get("model")
            vocabulary = model.get("vocab") if isinstance(model, dict) else None
            if isinstance(vocabulary, dict) and all(type(i) is int for i in vocabulary.values()):
                return vocabulary
        return {}

    @property
    def is_byte_level(self) -> bool:
        """Whether tokenizer.json cuts text into bytes, so that no tokenizer.model can exist."""
        with suppress(ModelError):
            steps = [self._json(TOKENIZER_JSON).get(name) for name in ("pre_tokenizer", "decoder")]
            return '"ByteLevel"' in json.dumps(steps)
        return False

    @property
    def _known_template(self) -> str | None:
        tokenizer = self.tokenizer
        return template_for_tokenizer(self._model_name, tokenizer) if tokenizer else None

    @property
    def _is_legacy(self) -> bool:
        if "legacy" in self._config or TOKENIZER_JSON not in self._paths:
            return self._config.get("legacy", True) is not False
        # transformers 5 writes it down as the place where tokenizer.json puts dummy prefixes.
        splitter = self._json(TOKENIZER_JSON).get("pre_tokenizer")
        steps = splitter.get("pretokenizers", [splitter]) if isinstance(splitter, dict) else []
        schemes = [step.get("prepend_scheme") for step in steps if isinstance(step, dict)]
        return "first" not in schemes

    @cached_property
    def _config(self) -> dict[str, Any]:
        return self._json(CONFIG)

    @cached_property
    def _special_map(self) -> dict[str, Any]:
        # transformers reads it where the configuration does not list the added tokens.
        return {} if CONFIG_KEY in self._config else self._json(SPECIAL_MAP)

    def _json(self, name: str) -> dict[str, Any]:
        path = self._paths.get(name)
        return {} if path is None else read_object(path)

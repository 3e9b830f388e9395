"""The files by which a checkpoint's text is read, opened when they are needed.

`shard` tries them where the checkpoint keeps them, and `prompt` reads them where `up` put them:
both through this class, so that what was tried is what is used.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pi_cluster.transformer.checkpoint_file import read_object, read_text
from pi_cluster.transformer.errors import ModelError
from pi_cluster.transformer.text.added_tokens import (
    CONFIG_KEY,
    AddedToken,
    read_added_tokens,
    read_tokens_of_tokenizer_json,
    special_tokens,
)
from pi_cluster.transformer.text.builtin_templates import (
    template_for_tekken,
    template_for_tokenizer,
)
from pi_cluster.transformer.text.chat_template import ChatTemplate
from pi_cluster.transformer.text.loading import (
    ForeignTokenizer,
    load_bpe,
    load_sentencepiece,
    load_tekken,
)
from pi_cluster.transformer.text.tokenizer import Tokenizer

MODEL = "tokenizer.model"
CONFIG = "tokenizer_config.json"
TEMPLATE = "chat_template.jinja"
ADDED = "added_tokens.json"
SPECIAL_MAP = "special_tokens_map.json"
TOKENIZER_JSON = "tokenizer.json"
TEKKEN = "tekken.json"
TOKENIZERS = (MODEL, TEKKEN, TOKENIZER_JSON)
"""Of these files one is the tokenizer: the first that is there and belongs to the model."""


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The file that is the tokenizer, and what follows from it."""

    file_name: str | None
    tokenizer: Tokenizer | None
    added: Sequence[AddedToken] = ()
    known_template: str | None = None
    """Our own, for a checkpoint that has none."""
    passed_over: str | None = None


class TextFiles:
    """Files by their names in a store. Each `ModelError` names the file as ``paths`` has it."""

    def __init__(self, paths: Mapping[str, Path], vocab_size: int, model_name: str | None) -> None:
        """``vocab_size`` is the model's, ``model_name`` the checkpoint's name of tokenizer.model.

        Mistral ends it with the version of its chat format, as in ``tokenizer.model.v3``.
        """
        self._paths = paths
        self.vocab_size = vocab_size
        self._model_name = model_name or MODEL

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The tokenizer with its added tokens, or None where there is no file of one.

        Raises `ModelError` where a file is torn, or does not fit the model, and
        `UnsupportedTokenizer` where it is of a kind that is not read.
        """
        return self._chosen.tokenizer

    @property
    def tokenizer_file(self) -> str | None:
        """Which of the files that is, by its name in a store."""
        return self._chosen.file_name

    @property
    def passed_over(self) -> str | None:
        """Why the first file that could be it is not the tokenizer, if it is not."""
        return self._chosen.passed_over

    @property
    def added_tokens(self) -> Sequence[AddedToken]:
        """All added tokens, also those whose ids the model does not have."""
        return self._chosen.added

    @property
    def used_names(self) -> frozenset[str]:
        """The files that are of use, as names in a store."""
        name = self.tokenizer_file
        names = {CONFIG, TEMPLATE} | ({name} if name else set())
        if name == MODEL and CONFIG_KEY not in self._config:
            names |= {ADDED, SPECIAL_MAP, TOKENIZER_JSON}
        elif name == TOKENIZER_JSON:
            names.add(SPECIAL_MAP)
        return frozenset(names & self._paths.keys())

    @cached_property
    def _chosen(self) -> "_Chosen":
        others = [name for name in (TEKKEN, TOKENIZER_JSON) if name in self._paths]
        passed_over = None
        if MODEL in self._paths:
            try:
                return self._sentencepiece()
            except ForeignTokenizer as error:
                if not others:
                    raise
                passed_over = str(error)
        if not others:
            return _Chosen(None, None)
        chosen = self._tekken() if others[0] == TEKKEN else self._bpe()
        return replace(chosen, passed_over=passed_over)

    def _sentencepiece(self) -> "_Chosen":
        path = self._paths[MODEL]
        with _naming(self._paths.get(CONFIG, ADDED)):
            added = read_added_tokens(
                self._config,
                self._special_map,
                self._json(ADDED),
                {} if CONFIG_KEY in self._config else self._json(TOKENIZER_JSON),
            )
        tokenizer = load_sentencepiece(path, added, self.vocab_size, legacy=self._is_legacy)
        known = template_for_tokenizer(self._model_name, tokenizer)
        return _Chosen(MODEL, tokenizer, added, known)

    def _tekken(self) -> "_Chosen":
        path = self._paths[TEKKEN]
        tokenizer, version = load_tekken(path, read_object(path), self.vocab_size)
        return _Chosen(TEKKEN, tokenizer, known_template=template_for_tekken(version))

    def _bpe(self) -> "_Chosen":
        path = self._paths[TOKENIZER_JSON]
        values = read_object(path)
        with _naming(path):
            added = read_tokens_of_tokenizer_json(self._config, self._special_map, values)
        tokenizer = load_bpe(path, values, added, self.special_tokens, self.vocab_size)
        return _Chosen(TOKENIZER_JSON, tokenizer, added)

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
        return self.template_name is not None or self._chosen.known_template is not None

    @cached_property
    def template(self) -> ChatTemplate | None:
        """The checkpoint's own chat template, or ours for a tokenizer of Mistral's that we know.

        Raises `ModelError` where it is torn or no valid template.
        """
        tokenizer = self.tokenizer
        if tokenizer is None or not self.has_template:
            return None
        source: Any = self._chosen.known_template
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


@contextmanager
def _naming(file: Path | str) -> Iterator[None]:
    try:
        yield
    except ModelError as error:
        raise ModelError(f"{file}: {error}") from error

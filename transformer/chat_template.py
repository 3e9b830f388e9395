"""A chat, rendered by a checkpoint's Jinja template, as token ids.

Templates and what they may call are those of Hugging Face transformers (its guide "Writing a chat
template"). A template is a program from a stranger: it runs in Jinja's immutable sandbox.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from transformer.control_text import ControlText
from transformer.errors import PromptError
from transformer.tokenizer import Tokenizer

_MAX_RENDERED_CHARS = 1_000_000  # several times the longest window; a template's loops may not end

# v2 and v3 differ in how they write tool calls, which our templates leave out.
_BUILTIN_FILES = {"v1": "mistral-v1.jinja", "v2": "mistral-v3.jinja", "v3": "mistral-v3.jinja"}


class ChatTemplate:
    """One chat template and the tokenizer that its control spellings belong to."""

    def __init__(
        self,
        source: str | Sequence[Mapping[str, str]],
        tokenizer: Tokenizer,
        *,
        bos_token: str | None = None,
        eos_token: str | None = None,
        unk_token: str | None = None,
        legacy: bool = False,
    ) -> None:
        """Compile ``source``: Jinja, or a list of ``{"name", "template"}`` with a "default".

        ``bos_token`` and ``eos_token`` are the spellings the template gets to write, the
        tokenizer's own unless given. ``legacy`` is tokenizer_config.json's entry of that name: text
        after a control token then gets SentencePiece's dummy prefix, as the text at the start of
        a prompt always does. Raises `PromptError` where the template is not valid.
        """
        self._tokenizer = tokenizer
        self._legacy = legacy
        self._variables = {
            "bos_token": bos_token or tokenizer.id_to_piece(tokenizer.bos_id),
            "eos_token": eos_token or tokenizer.id_to_piece(tokenizer.eos_id),
        }
        named = [*self._variables.values(), *([unk_token] if unk_token else [])]
        ids = {spelling: _known_id(spelling, tokenizer) for spelling in named}
        self._control_text = ControlText({**tokenizer.control_ids, **ids})
        try:
            self._template = _environment().from_string(_default_source(source))
        except TemplateError as error:
            raise PromptError(f"the chat template is not valid Jinja: {error}") from error

    @classmethod
    def from_tokenizer_config(
        cls, config: Mapping[str, Any], tokenizer: Tokenizer
    ) -> "ChatTemplate":
        """The template of a ``tokenizer_config.json``, with the special tokens it names.

        Raises `PromptError` where it has none, or a template that is not valid.
        """
        if not config.get("chat_template"):
            raise PromptError("tokenizer_config.json has no chat_template")
        return cls(
            config["chat_template"],
            tokenizer,
            bos_token=_spelling(config.get("bos_token")),
            eos_token=_spelling(config.get("eos_token")),
            unk_token=_spelling(config.get("unk_token")),
            legacy=config.get("legacy", True) is not False,
        )

    def encode(
        self, messages: Sequence[Mapping[str, Any]], *, add_generation_prompt: bool = True
    ) -> list[int]:
        """The ids of a chat, ``<s>`` included where the template writes it.

        ``messages`` are ``{"role": ..., "content": ...}``. Control spellings inside them stay plain
        text. Raises `PromptError`, with the template's own words where it refuses the messages.
        """
        if not messages:
            raise PromptError("a chat needs at least one message")
        guarded = [self._guard(message) for message in messages]
        rendered = self._render(messages=guarded, add_generation_prompt=add_generation_prompt)
        ids: list[int] = []
        for text, control_id in self._control_text.split(rendered):
            ids += self._tokenizer.encode(text, continuation=bool(ids) and not self._legacy)
            if control_id is not None:
                ids.append(control_id)
        return ids

    def _guard(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._control_text.guard(value)
        if isinstance(value, Mapping):
            return {key: self._guard(item) for key, item in value.items()}
        if isinstance(value, Sequence):
            return [self._guard(item) for item in value]
        return value

    def _render(self, **variables: Any) -> str:
        parts: list[str] = []
        length = 0
        try:
            for part in self._template.generate(
                **variables, **self._variables, tools=None, documents=None
            ):
                parts.append(part)
                length += len(part)
                if length > _MAX_RENDERED_CHARS:
                    break
        # A template is a foreign program and may fail in any way a program can.
        except Exception as error:
            reason = self._control_text.unguard(str(error))
            raise PromptError(f"the chat template refuses this chat: {reason}") from error
        if length > _MAX_RENDERED_CHARS:
            raise PromptError(
                f"the rendered chat exceeds {_MAX_RENDERED_CHARS} characters; shorten it"
            )
        return "".join(parts)


def builtin_template(version: str) -> str:
    """Our own template for Mistral's tokenizer ``version``: "v1", "v2" or "v3".

    It gives the ids of mistral-common's ``encode_chat_completion``. Raises `PromptError` for other
    versions.
    """
    if version not in _BUILTIN_FILES:
        known = ", ".join(_BUILTIN_FILES)
        raise PromptError(f"there is no built-in chat template {version!r}; there are {known}")
    path = Path(__file__).with_name("chat_templates") / _BUILTIN_FILES[version]
    return path.read_text(encoding="utf-8")


def template_for_tokenizer(file_name: str, tokenizer: Tokenizer) -> str | None:
    """The built-in template for a checkpoint without one, or None where it cannot be known.

    Mistral ends the name of a tokenizer file with its version, as in ``tokenizer.model.v3``. A mere
    ``tokenizer.model`` is v3 if it has 32768 pieces with ``[INST]``, but no ``[SYSTEM_PROMPT]``
    (v7). Without ``[INST]`` it may be v1, or of a base model that was never taught to chat: None.
    """
    version = file_name.rpartition(".")[2]
    if version in _BUILTIN_FILES:
        return builtin_template(version)
    control = tokenizer.control_ids
    is_v3 = tokenizer.vocab_size == 32768 and "[INST]" in control
    if file_name.endswith(".model") and is_v3 and "[SYSTEM_PROMPT]" not in control:
        return builtin_template("v3")
    return None


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    return environment


def _to_json(value: Any, indent: int | None = None, **options: Any) -> str:
    # Jinja's own filter escapes <, > and & for HTML, which no model was trained on.
    return json.dumps(value, ensure_ascii=False, indent=indent, **options)


def _raise_exception(message: str) -> NoReturn:
    raise TemplateError(message)


def _strftime_now(pattern: str) -> str:
    return datetime.now().strftime(pattern)


def _default_source(source: str | Sequence[Mapping[str, str]]) -> str:
    if isinstance(source, str):
        return source
    for entry in source:
        if entry.get("name") == "default":
            return entry["template"]
    raise PromptError("none of the chat templates is named 'default'")


def _spelling(token: str | Mapping[str, Any] | None) -> str | None:
    """The spelling of a special token, which tokenizer_config.json gives alone or in an object."""
    return token["content"] if isinstance(token, Mapping) else token


def _known_id(spelling: str, tokenizer: Tokenizer) -> int:
    token_id = tokenizer.piece_to_id(spelling)
    if token_id is None:
        raise PromptError(
            f"the chat template's control token {spelling!r} is not in the tokenizer's vocabulary; "
            f"tokens added outside tokenizer.model are not supported"
        )
    return token_id

"""A chat, rendered by a checkpoint's Jinja template, as token ids.

Templates and what they may call are those of Hugging Face transformers (its guide "Writing a chat
template"). A template is a program from a stranger: it runs in Jinja's immutable sandbox.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any

from jinja2 import Template, TemplateError, TemplateSyntaxError
from jinja2.nodes import Name

from pi_cluster.transformer.errors import PromptError
from pi_cluster.transformer.text.added_tokens import AddedToken
from pi_cluster.transformer.text.chat_forms import forms
from pi_cluster.transformer.text.control_text import ControlText
from pi_cluster.transformer.text.guarded_text import GuardedText
from pi_cluster.transformer.text.template_environment import make_environment
from pi_cluster.transformer.text.template_sources import TemplateSources
from pi_cluster.transformer.text.thoughts import CLOSING, OPENING, SWITCHES, without_thoughts
from pi_cluster.transformer.text.tokenizer import Tokenizer

_MAX_RENDERED_CHARS = 1_000_000  # several times the longest window; a template's loops may not end

# Names that templates compare and spell tags with, as in '<|' + message.role + '|>'.
_ROLES = frozenset({"system", "user", "assistant", "tool"})
_NO_ID = -1
_HERE = "\ue0f1"  # of Unicode's private use: where a message that goes on has come to
_SOME_THOUGHT, _SOME_ANSWER = "some thought", "an answer"


class ChatTemplate:
    """One chat template and the tokenizer that its control spellings belong to."""

    def __init__(
        self,
        source: Any,
        tokenizer: Tokenizer,
        special: Mapping[str, str] | None = None,
    ) -> None:
        """Compile ``source``, which is as `TemplateSources.of` takes it.

        ``special`` are spellings that the template may use by name, such as ``eos_token``;
        ``bos_token``, ``eos_token`` and ``unk_token`` are the tokenizer's own unless given. Raises
        `PromptError` where the template is not valid.
        """
        self._tokenizer = tokenizer
        ids = {
            "bos_token": tokenizer.bos_id,
            "eos_token": tokenizer.eos_id,
            "unk_token": tokenizer.unk_id,
        }
        own = {name: tokenizer.id_to_piece(i) for name, i in ids.items() if i is not None}
        self._variables = {**own, **(special or {})}
        named = (s for s in self._variables.values() if s not in tokenizer.tokens)
        tokens = [_named_token(spelling, tokenizer) for spelling in named]
        self._control_text = ControlText([*tokenizer.tokens.values(), *tokens])
        sources = TemplateSources.of(source)
        self._template, names = _compiled(sources.default)
        self._with_tools, names_with_tools = self._template, names
        if sources.with_tools != sources.default:
            self._with_tools, names_with_tools = _compiled(sources.with_tools)
        self.source = sources.with_tools
        """Of the template for chats with tools, which mostly is the only one."""
        self.takes_tools = "tools" in names_with_tools
        """Whether it can tell a model what there is to call."""
        self._switches = [name for name in SWITCHES if name in names | names_with_tools]
        self._thinks = CLOSING in sources.default or CLOSING in tokenizer.tokens

    @property
    def can_think(self) -> bool:
        """Whether the model thinks before its answers, or the template has a switch for that."""
        return self.can_switch_thinking or self._thinks

    @property
    def can_switch_thinking(self) -> bool:
        """Whether the template has a switch for thinking."""
        return bool(self._switches)

    def encode(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        add_generation_prompt: bool = True,
        think: bool | None = None,
        tools: Sequence[Mapping[str, Any]] = (),
        continues: bool = False,
    ) -> list[int]:
        """The ids of a chat, ``<s>`` included where the template writes it.

        ``messages`` are ``{"role": ..., "content": ...}``, and ``tools`` what the model may call,
        in OpenAI's words. Control spellings inside both stay plain text, and what the model thought
        before its earlier answers is left out. A chat that the template refuses is tried in its
        other `forms`. ``think`` has it think or not, where the template has a switch for that.
        With ``continues`` the chat ends within its last message, which the model goes on with.
        Raises `PromptError`, with the template's own words where it refuses the messages.
        """
        if not messages:
            raise PromptError("a chat needs at least one message")
        if think is not None and not self.can_switch_thinking:
            raise PromptError(
                "this model's chat template has no switch for thinking (enable_thinking): leave "
                "--think out"
            )
        *before, last = messages
        if self._thinks:
            messages = [self._without_thoughts(message) for message in before]
            messages += [last if continues else self._without_thoughts(last)]
        if continues:
            messages = [*messages[:-1], {**last, "content": f"{last.get('content')}{_HERE}"}]
            add_generation_prompt = False
        try:
            rendered = self._rendered_in_some_form(messages, add_generation_prompt, think, tools)
            if continues:
                rendered = _up_to_here(rendered)
        except RecursionError as error:
            raise PromptError("a message or a tool is nested too deep: make it flatter") from error
        parts = list(self._control_text.split(rendered))
        for _, token in parts:
            if token and token.id == _NO_ID:
                raise PromptError(
                    f"the chat template writes {token.content!r}, which is not in the tokenizer's "
                    "vocabulary, nor among the added tokens that the model has ids for"
                )
        return self._tokenizer.encode_parts(parts)

    def render(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] = ()
    ) -> str:
        """The text that `encode` would give ids for; raises as it does."""
        return self._control_text.unguard(self._rendered(messages, True, tools=tools))

    def end_of_turn(self) -> int | None:
        """The id that the template writes right behind an answer, if it is a control token.

        A model that says it has ended its turn, whatever the checkpoint's end of a text is.
        """
        chat = [{"role": "user", "content": "?"}, {"role": "assistant", "content": _SOME_ANSWER}]
        with suppress(PromptError):
            rendered = self._rendered(chat, False)
            _, answered, rest = rendered.rpartition(_SOME_ANSWER)
            text, token = next(self._control_text.split(rest))
            if answered and not text.strip() and token and token.is_control and token.id != _NO_ID:
                return token.id if token.id != self._tokenizer.bos_id else None
        return None

    @cached_property
    def _keeps_thoughts(self) -> bool:
        """Whether the template would write an earlier answer's thoughts into the history."""
        thought = f"{OPENING}\n{_SOME_THOUGHT}\n{CLOSING}\n\n{_SOME_ANSWER}"
        user = {"role": "user", "content": "?"}
        with suppress(PromptError):
            chat = [user, {"role": "assistant", "content": thought}, user]
            return _SOME_THOUGHT in self._rendered(chat, True)
        return False

    def _without_thoughts(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        content = message.get("content")
        if message.get("role") != "assistant" or not isinstance(content, str):
            return message
        # A template that takes thoughts off has its own idea of the line breaks behind them.
        if CLOSING in content and not self._keeps_thoughts:
            return message
        return {**message, "content": without_thoughts(content)}

    def _rendered_in_some_form(
        self,
        messages: Sequence[Mapping[str, Any]],
        add_generation_prompt: bool,
        think: bool | None,
        tools: Sequence[Mapping[str, Any]],
    ) -> str:
        refused: PromptError | None = None
        for form in forms(messages):
            try:
                return self._rendered(form, add_generation_prompt, think, tools)
            except PromptError as error:
                refused = refused or error
        assert refused, "a chat has at least the form in which it was sent"
        raise refused

    def _rendered(
        self,
        messages: Sequence[Mapping[str, Any]],
        add_generation_prompt: bool,
        think: bool | None = None,
        tools: Sequence[Mapping[str, Any]] = (),
    ) -> str:
        guarded = [self._guard_message(message) for message in messages]
        switches = {} if think is None else dict.fromkeys(self._switches, think)
        return self._render(
            messages=guarded,
            tools=self._guard(tools) or None,
            add_generation_prompt=add_generation_prompt,
            **switches,
        )

    def _guard_message(self, message: Mapping[str, Any]) -> dict[str, Any]:
        guarded = {key: self._guard(value) for key, value in message.items() if value is not None}
        role = message.get("role")
        return {**guarded, "role": role} if role in _ROLES else guarded

    def _guard(self, value: Any) -> Any:
        if isinstance(value, str):
            return GuardedText(value, self._control_text)
        if isinstance(value, Mapping):
            return {self._guard_key(key): self._guard(item) for key, item in value.items()}
        if isinstance(value, Sequence):
            return [self._guard(item) for item in value]
        return value

    def _guard_key(self, key: Any) -> Any:
        # Templates look for keys by their names, which need no guard; others may be anything.
        is_plain = not isinstance(key, str) or self._control_text.guard(key) == key
        return key if is_plain else self._guard(key)

    def _render(self, **variables: Any) -> str:
        parts: list[str] = []
        length = 0
        template = self._with_tools if variables["tools"] else self._template
        try:
            for part in template.generate(**variables, **self._variables, documents=None):
                parts.append(part)
                length += len(part)
                if length > _MAX_RENDERED_CHARS:
                    break
        # A template is a foreign program and may fail in any way a program can.
        except Exception as error:
            reason = self._control_text.unguard(_reason(error))
            raise PromptError(f"the chat template refuses this chat: {reason}") from error
        if length > _MAX_RENDERED_CHARS:
            raise PromptError(
                f"the rendered chat exceeds {_MAX_RENDERED_CHARS} characters; shorten it"
            )
        return "".join(parts)


def _up_to_here(rendered: str) -> str:
    before, here, _ = rendered.rpartition(_HERE)
    if not here:
        raise PromptError("the chat template does not write the last message, to go on with it")
    return before


def _compiled(source: str) -> tuple[Template, set[str]]:
    """A template, and the names in it."""
    environment = make_environment()
    try:
        parsed = environment.parse(source)
        names = {name.name for name in parsed.find_all(Name)}
        return environment.from_string(parsed), names
    # Compiling computes constants and may fail in any way a program can.
    except Exception as error:
        raise PromptError(f"the chat template is not valid Jinja: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    if isinstance(error, TemplateSyntaxError):
        return f"line {error.lineno}: {error.message}"
    # A template's own refusal is a sentence; of another failure the sort says more.
    return str(error) if isinstance(error, TemplateError) else f"{type(error).__name__}: {error}"


def _named_token(spelling: str, tokenizer: Tokenizer) -> AddedToken:
    token_id = tokenizer.piece_to_id(spelling)
    return AddedToken(_NO_ID if token_id is None else token_id, spelling)

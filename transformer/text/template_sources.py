"""Which of a checkpoint's chat templates is for what, as transformers chooses among them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from pi_cluster.transformer.errors import PromptError

_DEFAULT, _WITH_TOOLS = "default", "tool_use"


@dataclass(frozen=True, slots=True)
class TemplateSources:
    """Jinja of the template for any chat, and of the one for chats with tools."""

    default: str
    with_tools: str

    @classmethod
    def of(cls, given: Any) -> Self:
        """From Jinja, an object ``{"default": Jinja, ...}``, or a list of
        ``{"name": "default", "template": Jinja}`` and others.

        One named ``tool_use`` is for chats with tools. Raises `PromptError` where none is for any
        chat.
        """
        if isinstance(given, Sequence) and not isinstance(given, str):
            entries = [entry for entry in given if isinstance(entry, Mapping)]
            given = {entry.get("name"): entry.get("template") for entry in entries}
        if not isinstance(given, Mapping):
            given = {_DEFAULT: given}
        if given.get(_DEFAULT) is None and given.keys() != {_DEFAULT}:
            raise PromptError("none of the chat templates is named 'default'")
        default = given[_DEFAULT]
        with_tools = given.get(_WITH_TOOLS, default)
        if not isinstance(default, str) or not isinstance(with_tools, str):
            raise PromptError(
                "the chat template is neither text nor an object or list of templates"
            )
        return cls(default, with_tools)

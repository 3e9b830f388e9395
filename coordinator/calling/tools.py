"""What a model may call, and what it calls."""

import json
import re
import secrets
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from pi_cluster.coordinator.constraining.grammar import MAX_SCHEMA_BYTES, check_schema
from pi_cluster.transformer.errors import PromptError, naming

AUTO, NONE, REQUIRED = CHOICES = ("auto", "none", "required")
"""Of ``tool_choice``: as the model likes, no call, at least one call."""
MOST_TOOLS = 128
_MOST_BYTES = 4 * MAX_SCHEMA_BYTES  # of all tools together
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_NO_PARAMETERS: Mapping[str, Any] = {"type": "object", "properties": {}}
_ID_LENGTH = 9  # Mistral's templates take no other
_ID_LETTERS = string.ascii_letters + string.digits


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that a model may have called. Raises ``PromptError`` for what is none."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=lambda: dict(_NO_PARAMETERS))
    """A JSON schema of an object: what its arguments follow, as far as that can be followed."""
    strict: bool = False
    """Whether a schema that cannot be followed is refused."""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise PromptError(
                f"a tool is named {self.name!r}: give it up to 64 letters, digits, _, - and ."
            )
        if self.name in CHOICES:
            raise PromptError(f"no tool can be named {self.name!r}, which is a choice of tools")
        if not isinstance(self.description, str):
            raise PromptError(f"the description of the tool {self.name} is no text")
        where = f"the schema of the tool {self.name}"
        check_schema(self.parameters, where)
        if self.parameters.get("type", "object") != "object":
            raise PromptError(f"{where} is of a {self.parameters['type']}: let it be of an object")

    @classmethod
    def of(cls, given: object) -> Self:
        """From ``{"type": "function", "function": {"name": ...}}``, as OpenAI's API has it."""
        if isinstance(given, cls):
            return given
        read = given if isinstance(given, Mapping) else {}
        function = read.get("function")
        if not isinstance(function, Mapping) or read.get("type", "function") != "function":
            raise PromptError('a tool is a Tool, or {"type": "function", "function": {...}}')
        parameters = function.get("parameters")
        return cls(
            function.get("name") or "",
            function.get("description") or "",
            dict(_NO_PARAMETERS) if parameters is None else parameters,
            function.get("strict") is True,
        )

    def to_json(self) -> dict[str, Any]:
        """As OpenAI's API has it, which is what chat templates take."""
        return {
            "type": "function",
            "function": {
                "name": self.name,
                "description": self.description,
                "parameters": {**self.parameters},
            },
        }


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A model wants a tool called, and goes on once it is told what came of it."""

    id: str
    """Nine letters and digits."""
    name: str
    arguments: str
    """A JSON object, as the model wrote it."""


@dataclass(frozen=True, slots=True)
class ToolUse:
    """Which tools there are for an answer, and whether it is to call them."""

    tools: tuple[Tool, ...]
    choice: str = AUTO
    """``auto``, ``required``, or the name of the tool that is to be called."""
    parallel: bool = True
    """Whether it may call several."""

    @property
    def callable(self) -> tuple[Tool, ...]:
        """Those that this answer may call."""
        if self.choice in CHOICES:
            return self.tools
        return tuple(tool for tool in self.tools if tool.name == self.choice)

    @property
    def is_required(self) -> bool:
        """Whether the answer has to be a call."""
        return self.choice != AUTO


def tool_use(
    tools: Sequence[Tool | Mapping[str, Any]], choice: str | None, parallel: bool
) -> ToolUse | None:
    """What is said of tools, checked; None where the answer is to call none.

    Raises ``PromptError`` for what makes no sense.
    """
    if len(tools) > MOST_TOOLS:
        raise PromptError(f"there are {len(tools)} tools; at most {MOST_TOOLS} are taken")
    read = tuple(map(Tool.of, tools))
    names = [tool.name for tool in read]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise PromptError(f"two tools are named {twice}: give each a name of its own")
    size = sum(len(json.dumps(tool.to_json(), ensure_ascii=False).encode()) for tool in read)
    if size > _MOST_BYTES:
        raise PromptError(f"the tools have {size} bytes; at most {_MOST_BYTES} are read")
    with naming("tool_choice"):
        _check_choice(choice, names)
    if not read or choice == NONE:
        return None
    return ToolUse(read, choice or AUTO, parallel)


def _check_choice(choice: str | None, names: Sequence[str]) -> None:
    if choice not in (None, *CHOICES, *names):
        raise PromptError(
            f"tool_choice is {choice!r}: it is auto, none, required, or the name of a tool"
        )
    if not names and choice not in (None, AUTO, NONE):
        raise PromptError(f"tool_choice is {choice} and there are no tools: give some")


def new_call_id() -> str:
    """An id that no other call of a conversation has."""
    return "".join(secrets.choice(_ID_LETTERS) for _ in range(_ID_LENGTH))

"""What Ollama's clients are answered: the same object for each line of a stream and for the whole.

Durations are in nanoseconds.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, Self

from msgspec import UNSET, Struct, UnsetType

Done = Literal["stop", "length", "load", "unload"]


class LikelyToken(Struct):
    """A token that could have stood there."""

    token: str
    bytes: list[int]
    logprob: float


class Likelihood(Struct, omit_defaults=True):
    """A token of an answer, and how likely it was."""

    token: str
    bytes: list[int]
    logprob: float
    top_logprobs: list[LikelyToken] = []


class Function(Struct):
    """What is to be called, with its arguments as an object."""

    index: int
    name: str
    arguments: dict[str, Any]


class Call(Struct):
    """A call of a tool."""

    id: str
    function: Function


class Message(Struct, omit_defaults=True):
    """An answer to a chat, or what it has grown by."""

    role: str
    content: str
    thinking: str | UnsetType = UNSET
    tool_calls: list[Call] | UnsetType = UNSET


class Frame(Struct, kw_only=True, omit_defaults=True):
    """What answers to both routes have; figures stand where it is ``done``."""

    model: str
    created_at: datetime
    done: bool
    done_reason: Done | UnsetType = UNSET
    total_duration: int | UnsetType = UNSET
    load_duration: int | UnsetType = UNSET
    prompt_eval_count: int | UnsetType = UNSET
    prompt_eval_duration: int | UnsetType = UNSET
    eval_count: int | UnsetType = UNSET
    eval_duration: int | UnsetType = UNSET
    logprobs: list[Likelihood] | UnsetType = UNSET


class ChatFrame(Frame, kw_only=True):
    """``/api/chat``"""

    message: Message

    @classmethod
    def of(cls, said: str, thought: str, calls: Sequence[Call], **told: Any) -> Self:
        """With a message of these parts."""
        parts = Message("assistant", said, thought or UNSET, [*calls] or UNSET)
        return cls(message=parts, **told)


class GenerateFrame(Frame, kw_only=True):
    """``/api/generate``"""

    response: str
    thinking: str | UnsetType = UNSET

    @classmethod
    def of(cls, said: str, thought: str, _calls: Sequence[Call], **told: Any) -> Self:
        """With these parts; nothing is called here."""
        return cls(response=said, thinking=thought or UNSET, **told)

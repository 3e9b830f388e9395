"""What Ollama's clients send. Fields that are not listed are ignored; null is as good as absent."""

from typing import Annotated, Any

from msgspec import Meta, Struct

MOST_STOPS = 16
_MOST_ALTERNATIVES = 20


class CalledFunction(Struct):
    """What an earlier answer called, with its arguments as an object."""

    name: str
    arguments: dict[str, Any] | None = None


class EarlierCall(Struct):
    """A call of a tool in an earlier answer; most clients keep no ids."""

    function: CalledFunction
    id: str | None = None


class OllamaMessage(Struct):
    """One turn of a conversation."""

    role: str
    content: str | None = None
    images: list[str] | None = None
    tool_calls: list[EarlierCall] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None


class GenerationWishes(Struct):
    """``options``; what else Ollama has there is about its own way to compute, and is ignored."""

    num_predict: int | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    min_p: float | None = None
    repeat_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    stop: str | Annotated[list[str], Meta(max_length=MOST_STOPS)] | None = None


class AskFields(Struct, kw_only=True):
    """What both routes that ask take."""

    model: str = ""
    stream: bool | None = None
    """Answers are streamed unless it is false."""
    format: str | dict[str, Any] | None = None
    options: GenerationWishes | None = None
    think: bool | str | None = None
    keep_alive: float | str | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=_MOST_ALTERNATIVES)] | None = None


class OllamaChatRequest(AskFields, kw_only=True):
    """``/api/chat``"""

    messages: list[OllamaMessage] | None = None
    tools: list[dict[str, Any]] | None = None


class GenerateRequest(AskFields, kw_only=True):
    """``/api/generate``"""

    prompt: str | None = None
    system: str | None = None
    raw: bool | None = None
    suffix: str | None = None
    images: list[str] | None = None
    template: str | None = None
    context: list[int] | None = None

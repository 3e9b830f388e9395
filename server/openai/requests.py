"""What OpenAI's clients send. Fields that are not listed are ignored; null is as good as absent."""

from typing import Annotated, Any

from msgspec import Meta, Struct

MOST_CHOICES, MOST_STOPS, MOST_PROMPTS = 4, 16, 16
_MOST_ALTERNATIVES = 20

_Alternatives = Annotated[int, Meta(ge=0, le=_MOST_ALTERNATIVES)]
_Penalty = Annotated[float, Meta(ge=-2, le=2)]


class StreamOptions(Struct):
    """What a stream holds beside the answers."""

    include_usage: bool | None = None


class ContentPart(Struct):
    """A piece of a message; only text is read."""

    type: str
    text: str | None = None
    refusal: str | None = None


class FunctionCalled(Struct):
    """What an earlier answer called, with its arguments as JSON text."""

    name: str
    arguments: str | None = None


class EarlierCall(Struct):
    """A call of a tool in an earlier answer."""

    function: FunctionCalled
    id: str | None = None
    type: str | None = None


class ChatMessage(Struct):
    """One turn of a conversation."""

    role: str
    content: str | list[ContentPart] | None = None
    name: str | None = None
    tool_calls: list[EarlierCall] | None = None
    tool_call_id: str | None = None


class GenerationFields(Struct, kw_only=True):
    """How an answer is to be made; what is absent is as the documents say."""

    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_k: int | None = None
    min_p: float | None = None
    repeat_penalty: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: _Penalty | None = None
    frequency_penalty: _Penalty | None = None
    logit_bias: dict[int, Annotated[float, Meta(ge=-100, le=100)]] | None = None
    seed: int | None = None
    n: Annotated[int, Meta(ge=1, le=MOST_CHOICES)] | None = None
    stop: str | Annotated[list[str], Meta(max_length=MOST_STOPS)] | None = None
    ignore_eos: bool | None = None
    grammar: str | None = None


class NamedSchema(Struct):
    """A JSON schema, with a name that is not read."""

    schema: dict[str, Any] | None = None


class ResponseFormat(Struct):
    """The form that an answer is wanted in."""

    type: str
    json_schema: NamedSchema | None = None
    schema: dict[str, Any] | None = None


class TemplateSwitches(Struct):
    """What a chat template is told beside the messages."""

    enable_thinking: bool | None = None
    thinking: bool | None = None


class NamedFunction(Struct):
    """The function that is to be called."""

    name: str


class ToolChoice(Struct):
    """What is to be called, where it is one."""

    type: str
    function: NamedFunction | None = None


class ChatRequest(GenerationFields, kw_only=True):
    """``/v1/chat/completions``"""

    messages: list[ChatMessage]
    max_completion_tokens: int | None = None
    logprobs: bool | None = None
    top_logprobs: _Alternatives | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    reasoning_effort: str | None = None
    chat_template_kwargs: TemplateSwitches | None = None
    functions: list[dict[str, Any]] | None = None
    modalities: list[str] | None = None


class CompletionRequest(GenerationFields, kw_only=True):
    """``/v1/completions``"""

    prompt: str | list[str | int | list[int]]
    logprobs: _Alternatives | None = None
    echo: bool | None = None
    suffix: str | None = None
    best_of: int | None = None


class TokenizeRequest(Struct):
    """``/tokenize``, as llama.cpp has it."""

    content: str
    add_special: bool = False
    with_pieces: bool = False


class DetokenizeRequest(Struct):
    """``/detokenize``, as llama.cpp has it."""

    tokens: list[int]


class TemplateRequest(Struct, kw_only=True):
    """``/apply-template``, as llama.cpp has it."""

    messages: list[ChatMessage]
    tools: list[dict[str, Any]] | None = None
    chat_template_kwargs: TemplateSwitches | None = None

"""What OpenAI's clients are answered, and llama.cpp's additions that some of them read."""

from typing import Literal

from msgspec import UNSET, Struct, UnsetType

Finish = Literal["stop", "length", "tool_calls"]


class CachedTokens(Struct):
    """How much of a prompt was not computed anew."""

    cached_tokens: int


class Usage(Struct):
    """Tokens of one request: its prompt once, and all its answers."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: CachedTokens


class LlamaTimings(Struct):
    """How long one answer took, in the words of llama.cpp's server."""

    cache_n: int
    prompt_n: int
    prompt_ms: float
    prompt_per_token_ms: float
    prompt_per_second: float
    predicted_n: int
    predicted_ms: float
    predicted_per_token_ms: float
    predicted_per_second: float


class Alternative(Struct):
    """A token that could have stood there."""

    token: str
    logprob: float
    bytes: list[int]


class TokenLogprob(Struct):
    """A token of an answer, and how likely it was."""

    token: str
    logprob: float
    bytes: list[int]
    top_logprobs: list[Alternative]


class ChatLogprobs(Struct):
    """Of all tokens of an answer, or of those that a chunk brings."""

    content: list[TokenLogprob]


class TextLogprobs(Struct):
    """Of a continued text, token by token."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class FunctionCall(Struct):
    """What is called, with its arguments as JSON text."""

    name: str
    arguments: str


class CalledTool(Struct):
    """A call of a tool, whole."""

    id: str
    function: FunctionCall
    type: Literal["function"] = "function"


class CalledToolChunk(CalledTool, kw_only=True):
    """The same in a stream, where calls are counted."""

    index: int


class Delta(Struct, omit_defaults=True):
    """What an answer has grown by."""

    role: str | UnsetType = UNSET
    content: str | UnsetType = UNSET
    reasoning_content: str | UnsetType = UNSET
    tool_calls: list[CalledToolChunk] | UnsetType = UNSET


class ChunkChoice(Struct):
    """One answer within a chunk."""

    index: int
    delta: Delta
    logprobs: ChatLogprobs | None = None
    finish_reason: Finish | None = None


class ChatChunk(Struct):
    """One event of a streamed chat."""

    id: str
    created: int
    model: str
    system_fingerprint: str
    choices: list[ChunkChoice]
    object: str = "chat.completion.chunk"
    usage: Usage | UnsetType = UNSET
    timings: LlamaTimings | UnsetType = UNSET


class AnswerMessage(Struct):
    """A whole answer."""

    content: str | None
    role: str = "assistant"
    reasoning_content: str | UnsetType = UNSET
    tool_calls: list[CalledTool] | UnsetType = UNSET


class ChatChoice(Struct):
    """One whole answer among those to a request."""

    index: int
    message: AnswerMessage
    finish_reason: Finish
    logprobs: ChatLogprobs | None = None


class ChatCompletion(Struct):
    """The answers to a chat."""

    id: str
    created: int
    model: str
    system_fingerprint: str
    choices: list[ChatChoice]
    usage: Usage
    timings: LlamaTimings
    object: str = "chat.completion"


class TextChoice(Struct):
    """One continuation, or what it has grown by."""

    index: int
    text: str
    logprobs: TextLogprobs | None = None
    finish_reason: Finish | None = None


class Completion(Struct):
    """The continuations of a text, or in a stream what they have grown by."""

    id: str
    created: int
    model: str
    system_fingerprint: str
    choices: list[TextChoice]
    object: str = "text_completion"
    usage: Usage | UnsetType = UNSET
    timings: LlamaTimings | UnsetType = UNSET


class ModelMeta(Struct):
    """What llama.cpp's server tells of a model."""

    n_vocab: int
    n_ctx_train: int
    size: int


class Model(Struct):
    """A model that is served."""

    id: str
    created: int
    max_model_len: int
    meta: ModelMeta
    owned_by: str = "pi-cluster"
    object: str = "model"


class ModelList(Struct):
    """All models that are served, which is one."""

    data: list[Model]
    object: str = "list"


class Tokens(Struct):
    """The ids of a text."""

    tokens: list[int]


class Content(Struct):
    """The text of ids."""

    content: str


class Rendered(Struct):
    """A conversation as the model reads it."""

    prompt: str

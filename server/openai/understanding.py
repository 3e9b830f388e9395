"""From what a client sent to what is asked, in the words of the Python API."""

from typing import Any

from pi_cluster.coordinator.asking.question import AskKeywords
from pi_cluster.server.asking.ask import SURELY_ONE, Ask
from pi_cluster.server.http.refusal import refuse
from pi_cluster.server.openai.messages import turns_of
from pi_cluster.server.openai.requests import (
    MOST_PROMPTS,
    ChatRequest,
    CompletionRequest,
    GenerationFields,
    ResponseFormat,
    ToolChoice,
)


def chat_ask(request: ChatRequest, *, can_think: bool) -> Ask:
    """What a chat asks. Raises ``Refusal`` for what is not offered, by its name.

    ``can_think``: the model has a switch for thinking; clients set theirs for every model.
    """
    if request.functions:
        refuse("functions", "`functions` are the old form: send `tools`")
    if request.modalities and set(request.modalities) != {"text"}:
        refuse("modalities", "this model gives text alone: leave `modalities` out")
    keywords = _keywords(request)
    if request.max_completion_tokens is not None:
        keywords["max_tokens"] = request.max_completion_tokens
    if request.logprobs:
        keywords["logprobs"] = request.top_logprobs or 0
    elif request.top_logprobs:
        refuse("top_logprobs", "`top_logprobs` come with `logprobs`: set it to true")
    turns = turns_of(request.messages)
    if turns[-1]["role"] == "assistant":
        keywords["continues"] = True
    if (schema := schema_of(request.response_format)) is not None:
        keywords["schema"] = schema
    if request.tools:
        keywords["tools"] = request.tools
        keywords["tool_choice"] = choice_of(request.tool_choice)
        keywords["parallel_tool_calls"] = request.parallel_tool_calls is not False
    if can_think and (think := wants_thought(request)) is not None:
        keywords["think"] = think
    return Ask(turns, keywords, request.n or 1)


def completion_asks(request: CompletionRequest) -> list[Ask]:
    """What a request to continue texts asks, one for each text."""
    if request.echo:
        refuse("echo", "the prompt is not given back: leave `echo` out, and put it in front")
    if request.suffix:
        refuse("suffix", "texts are continued, not filled in: leave `suffix` out")
    if request.best_of and request.best_of > (request.n or 1):
        refuse("best_of", "all answers are given: leave `best_of` out, and take `n`")
    prompts = _prompts(request.prompt)
    keywords = _keywords(request)
    keywords["raw"] = True
    if request.logprobs is not None:
        keywords["logprobs"] = request.logprobs
    return [Ask(prompt, keywords, request.n or 1) for prompt in prompts]


def schema_of(form: ResponseFormat | None) -> dict[str, Any] | None:
    """The JSON schema of the form that an answer is wanted in; None for text."""
    if form is None or form.type == "text":
        return None
    if form.type == "json_schema" and form.json_schema:
        return form.json_schema.schema or {"type": "object"}
    if form.type != "json_object":
        known = "text, json_object, or json_schema with a `json_schema`"
        refuse("response_format", f"`response_format` is of type {known}")
    # llama.cpp's clients may say a schema here; without one any object will do.
    return form.schema or {"type": "object"}


def choice_of(said: str | ToolChoice | None) -> str | None:
    """Which tool is to be called; ``auto``, ``none`` or ``required``; None where it is not said."""
    if not isinstance(said, ToolChoice):
        return said
    if said.type != "function" or said.function is None:
        refuse("tool_choice", "`tool_choice` is auto, none, required, or names a function")
    return said.function.name


def wants_thought(request: ChatRequest) -> bool | None:
    """Whether a client wants the model to think; None where it does not say."""
    if switches := request.chat_template_kwargs:
        said = (switches.enable_thinking, switches.thinking)
        if (chosen := next((one for one in said if one is not None), None)) is not None:
            return chosen
    return None if request.reasoning_effort is None else request.reasoning_effort != "none"


def _prompts(said: str | list[str | int | list[int]]) -> list[str | list[int]]:
    if isinstance(said, str):
        return [said]
    ids = [one for one in said if isinstance(one, int)]
    if ids and len(ids) == len(said):
        return [ids]
    prompts = [one for one in said if not isinstance(one, int)]
    if ids or not prompts:
        refuse("prompt", "`prompt` is a text, a list of token ids, or a list of either")
    if len(prompts) > MOST_PROMPTS:
        refuse("prompt", f"`prompt` has {len(prompts)} texts; at most {MOST_PROMPTS} go at once")
    return prompts


def _keywords(said: GenerationFields) -> AskKeywords:
    """Keywords for what was said; the rest stays as the Python API has it."""
    if said.grammar:
        refuse("grammar", "grammars of llama.cpp are not read: send a `response_format`")
    keywords = AskKeywords()
    if said.max_tokens is not None and said.max_tokens != -1:  # by which some mean: any number
        keywords["max_tokens"] = said.max_tokens
    if said.temperature is not None:
        keywords["temperature"] = said.temperature
    if said.top_p is not None:
        keywords["top_p"] = said.top_p or SURELY_ONE
    if said.top_k is not None:
        keywords["top_k"] = max(0, said.top_k)  # -1 is vLLM's word for all
    if said.min_p is not None:
        keywords["min_p"] = said.min_p
    if (penalty := said.repeat_penalty or said.repetition_penalty) is not None:
        keywords["repeat_penalty"] = penalty
    if said.presence_penalty:
        keywords["presence_penalty"] = said.presence_penalty
    if said.frequency_penalty:
        keywords["frequency_penalty"] = said.frequency_penalty
    if said.logit_bias:
        keywords["logit_bias"] = said.logit_bias
    if said.seed is not None and said.seed != -1:
        keywords["seed"] = said.seed % 2**64
    if said.stop:
        keywords["stop"] = said.stop
    if said.ignore_eos is not None:
        keywords["ignore_eos"] = said.ignore_eos
    return keywords

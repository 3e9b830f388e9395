"""From what a client sent to what is asked, in the words of the Python API."""

from collections.abc import Mapping
from typing import Any, cast

from pi_cluster.coordinator.asking.question import AskKeywords, Prompt
from pi_cluster.server.asking.ask import SURELY_ONE, Ask
from pi_cluster.server.asking.model_card import ModelCard
from pi_cluster.server.http.refusal import refuse
from pi_cluster.server.ollama.answers import Done
from pi_cluster.server.ollama.messages import refuse_images, turns_of
from pi_cluster.server.ollama.requests import (
    AskFields,
    GenerateRequest,
    GenerationWishes,
    OllamaChatRequest,
)

_SAME = ("temperature", "min_p", "repeat_penalty", "presence_penalty", "frequency_penalty")
_EFFORTS = ("low", "medium", "high", "max")
_NOTHING = ("0", "0s", "0m", "0h", "0ms")


def chat_ask(request: OllamaChatRequest, card: ModelCard) -> Ask:
    """What a chat asks. Raises ``Refusal`` for what is not offered, by its name."""
    turns = turns_of(request.messages or ())
    if not turns:
        refuse("messages", "`messages` has results alone, and no call: send the whole conversation")
    keywords = _keywords(request, card)
    if turns[-1]["role"] == "assistant":
        keywords["continues"] = True
    if request.tools:
        keywords["tools"] = request.tools
    return Ask(turns, keywords)


def generate_ask(request: GenerateRequest, card: ModelCard) -> Ask:
    """What a request for one answer to a text asks, or for its continuation if it is ``raw``."""
    prompt = request.prompt or ""
    if request.raw and (request.template or request.system or request.context):
        refuse("raw", "raw mode does not support template, system, or context")
    if request.suffix:
        refuse("suffix", f'"{request.model}" does not support insert: leave `suffix` out')
    if request.images:
        refuse_images("images")
    if request.template:
        refuse(
            "template", "the model's own chat template is used: leave `template` out, or send `raw`"
        )
    if request.context:
        refuse("context", "`context` is not kept: send the whole conversation to /api/chat")
    keywords = _keywords(request, card)
    if request.raw:
        keywords["raw"] = True
        keywords.pop("think", None)  # no template is there to switch it
        return Ask(prompt, keywords)
    if not request.system:
        return Ask(prompt, keywords)
    turns: Prompt = [
        {"role": "system", "content": request.system},
        {"role": "user", "content": prompt},
    ]
    return Ask(turns, keywords)


def loading_reason(request: AskFields) -> Done:
    """What a request without a prompt is for: ``load`` or ``unload``.

    The model is where it is; clients send such requests before the first that asks.
    """
    kept = request.keep_alive
    return "unload" if kept == 0 or kept in _NOTHING else "load"


def _keywords(request: AskFields, card: ModelCard) -> AskKeywords:
    """Keywords for what was said; the rest stays as the Python API has it."""
    keywords = _sampled(request.options or GenerationWishes())
    if (schema := _schema_of(request.format)) is not None:
        keywords["schema"] = schema
    if (think := _wants_thought(request, card)) is not None:
        keywords["think"] = think
    if request.logprobs:
        keywords["logprobs"] = request.top_logprobs or 0
    return keywords


def _sampled(wishes: GenerationWishes) -> AskKeywords:
    same = {name: value for name in _SAME if (value := getattr(wishes, name)) is not None}
    keywords = cast(AskKeywords, same)
    if wishes.num_predict is not None and wishes.num_predict > 0:  # else: any number
        keywords["max_tokens"] = wishes.num_predict
    if wishes.top_p is not None:
        keywords["top_p"] = wishes.top_p or SURELY_ONE
    if wishes.top_k is not None:
        keywords["top_k"] = max(0, wishes.top_k)
    if wishes.seed is not None and wishes.seed != -1:
        keywords["seed"] = wishes.seed % 2**64
    if wishes.stop:
        keywords["stop"] = wishes.stop
    return keywords


def _schema_of(form: str | Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    if form is None or form == "":
        return None
    if isinstance(form, Mapping):
        return form or {"type": "object"}
    if form != "json":
        refuse("format", f'invalid format: "{form}"; expected "json" or a valid JSON Schema object')
    return {"type": "object"}


def _wants_thought(request: AskFields, card: ModelCard) -> bool | None:
    """Whether the model is to think; None where nobody says so or it cannot be chosen."""
    think = request.think
    if isinstance(think, str):
        if think not in _EFFORTS:
            efforts = ", ".join(f'"{effort}"' for effort in _EFFORTS)
            refuse("think", f'invalid think value: "{think}" (must be {efforts}, true, or false)')
        think = True
    if think and not card.can_think:
        refuse("think", f'"{request.model}" does not support thinking')
    return think if card.can_switch_thinking else None

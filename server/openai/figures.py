"""What answers cost, and why they ended, in OpenAI's and llama.cpp's words."""

from collections.abc import Sequence

from pi_cluster.coordinator.asking.answer import Answer
from pi_cluster.coordinator.finish_reason import FinishReason
from pi_cluster.server.http.refusal import Refusal
from pi_cluster.server.openai.answers import CachedTokens, Finish, LlamaTimings, Usage

_FINISHES: dict[FinishReason, Finish] = {
    FinishReason.EOS: "stop",
    FinishReason.STOP: "stop",
    FinishReason.LENGTH: "length",
    FinishReason.CONTEXT: "length",
}


def finish_of(answer: Answer) -> Finish:
    """Why an answer ended. Raises ``Refusal`` for one that the server cut off."""
    if answer.was_interrupted:
        raise Refusal(503, "interrupted", "the server ended this answer: ask again")
    finish = _FINISHES[answer.finish_reason]
    return "tool_calls" if answer.tool_calls and finish == "stop" else finish


def usage_of(answers: Sequence[Answer], n: int) -> Usage:
    """Of all answers to one request, of which ``n`` each answer the same prompt."""
    prompts = sum(len(answer.prompt_ids) for answer in answers[::n])
    generated = sum(len(answer.ids) for answer in answers)
    cached = sum(answer.cached_tokens for answer in answers[::n])
    return Usage(prompts, generated, prompts + generated, CachedTokens(cached))


def timings_of(answer: Answer) -> LlamaTimings:
    """How long one answer took."""
    times = answer.timings
    cached = answer.cached_tokens
    read, said = len(answer.prompt_ids) - cached, len(answer.ids)
    return LlamaTimings(
        *(cached, read, *_rates(read, times.prefill_s)),
        *(said, *_rates(said, times.decode_s)),
    )


def _rates(tokens: int, seconds: float) -> tuple[float, float, float]:
    """Milliseconds in all, milliseconds a token, and tokens a second."""
    per_token = 1000 * seconds / tokens if tokens else 0.0
    return 1000 * seconds, per_token, tokens / seconds if seconds else 0.0

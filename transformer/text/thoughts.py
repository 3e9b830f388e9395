"""What a model thinks before it answers, between ``<think>`` and ``</think>``.

Qwen3, SmolLM3 and the distillations of DeepSeek-R1 spell it so. Some templates write the first tag
themselves, so that an answer begins in the middle of a thought.
"""

OPENING, CLOSING = "<think>", "</think>"
SWITCHES = ("enable_thinking", "thinking")
"""Names by which templates take whether to think."""


def without_thoughts(answer: str) -> str:
    """An answer as it belongs into a conversation's history.

    Of a thought that never ended nothing remains.
    """
    if CLOSING in answer:
        return answer.rpartition(CLOSING)[2].lstrip("\n")
    return "" if answer.lstrip().startswith(OPENING) else answer


def ends_in_thought(begun: str) -> bool:
    """Whether a begun answer has come to the middle of a thought."""
    return begun.rfind(OPENING) > begun.rfind(CLOSING)


def begins_in_thought(prompt_end: str) -> bool:
    """Whether the last characters of a prompt begin the thought that its answer goes on with."""
    return prompt_end.rstrip().endswith(OPENING)

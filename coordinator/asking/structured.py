"""Answers that are JSON and follow a schema."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from pi_cluster.coordinator.constraining.grammar import (
    ANY_OBJECT,
    check_schema,
    json_rule,
    token,
)
from pi_cluster.coordinator.constraint import Constraint
from pi_cluster.coordinator.text_model import TextModel
from pi_cluster.transformer.errors import PromptError

_SYSTEM_LINE = "Answer with one JSON object and nothing else."
# SentencePiece begins a text with a space, and models write line breaks behind their thoughts.
_SPACE = "SPACE: /[ \\n]{1,8}/\n"
_THOUGHT = "THOUGHT: /(?s:.*)/\n"

P = TypeVar("P")


def asking_for_json(prompt: P, schema: Mapping[str, Any], *, raw: bool) -> P | list[Any]:
    """A chat that wants any object gets a line that says so, unless it speaks of JSON itself.

    A model that is not told would begin an object and fill it with prose.
    """
    if {**schema} != {**ANY_OBJECT} or raw:
        return prompt
    turns: Sequence[Any] = prompt if isinstance(prompt, Sequence) else ()
    if isinstance(prompt, str):
        turns = [{"role": "user", "content": prompt}]
    if not turns or not all(isinstance(turn, Mapping) for turn in turns):
        return prompt
    if any("json" in str(turn.get("content")).lower() for turn in turns):
        return prompt
    first = turns[0]
    if first.get("role") == "system" and isinstance(first.get("content"), str):
        told = {**first, "content": f"{first['content']}\n\n{_SYSTEM_LINE}"}
        return [told, *turns[1:]]
    return [{"role": "system", "content": _SYSTEM_LINE}, *turns]


def json_constraint(
    model: TextModel, schema: Mapping[str, Any], begins_in_thought: bool
) -> Callable[[], Constraint]:
    """Makes what keeps an answer to ``schema``, behind a thought if the model has one.

    Compiles the schema, which takes milliseconds. Raises ``PromptError`` that names what of it
    cannot be followed.
    """
    check_schema(schema, "the schema")
    vocabulary = model.vocabulary()
    opening, closing = model.thought_ids()
    answer = f"answer: SPACE? json\njson: {json_rule(schema, fixed=False)}\n{_SPACE}"
    if begins_in_thought and closing is not None:
        grammar = f"start: THOUGHT {token(closing)} answer\n{answer}{_THOUGHT}"
    elif begins_in_thought:
        grammar = f"start: thought answer\nthought[lazy]: /(?s:.*)<\\/think>/\n{answer}"
    elif opening is not None and closing is not None:
        thought = f"thought: {token(opening)} THOUGHT {token(closing)}\n"
        grammar = f"start: thought? answer\n{thought}{answer}{_THOUGHT}"
    else:
        grammar = f"start: answer\n{answer}"
    try:
        vocabulary.constraint(grammar)
    except PromptError as error:
        raise PromptError(vocabulary.explained(error, schema)) from error
    return partial(vocabulary.constraint, grammar)

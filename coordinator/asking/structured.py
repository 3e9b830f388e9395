"""Answers that are JSON and follow a schema."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from pi_cluster.coordinator.constraining.grammar import (
    ANY_OBJECT,
    SPACE,
    behind_thought,
    check_schema,
    json_rule,
)
from pi_cluster.coordinator.constraint import Constraint
from pi_cluster.coordinator.text_model import TextModel
from pi_cluster.transformer.errors import PromptError

_SYSTEM_LINE = "Answer with one JSON object and nothing else."

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
    thought = behind_thought(*model.thought_ids(), begins_in_thought=begins_in_thought)
    grammar = f"{thought}answer: SPACE? json\njson: {json_rule(schema, fixed=False)}\n{SPACE}"
    try:
        vocabulary.constraint(grammar)
    except PromptError as error:
        raise PromptError(vocabulary.explained(error, schema)) from error
    return partial(vocabulary.constraint, grammar)

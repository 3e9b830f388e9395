"""Grammars in the notation of llguidance, from JSON schemas and fixed texts.

llguidance's own documents describe it: docs/syntax.md (a dialect of Lark's) and
docs/json_schema.md. A schema is written by value alone: whoever sends one adds no rules.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pi_cluster.transformer.errors import PromptError

MAX_SCHEMA_BYTES = 64 << 10
MAX_DEPTH = 64
ANY_OBJECT: Mapping[str, Any] = {"type": "object"}

# Unlimited white space is where a model that has lost its way stays until its last token.
_FLEXIBLE = {"whitespace_pattern": "[ \\n]{1,8}"}
# As json.dumps writes: where there is no choice, ids need not be sampled.
_FIXED = {"item_separator": ", ", "key_separator": ": ", "whitespace_flexible": False}
# SentencePiece begins a text with a space, and models write line breaks behind their thoughts.
SPACE = "SPACE: /[ \\n]{1,8}/\n"
_THOUGHT = "THOUGHT: /(?s:.*)/\n"
_OWN_KEY = "x-guidance"
_SCHEMAS_BY_NAME = ("properties", "patternProperties", "$defs", "definitions")
_SCHEMAS = ("items", "additionalProperties", "not", "if", "then", "else", "contains")
_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")


def literal(text: str) -> str:
    """A rule's part that is this text, and nothing for an empty one."""
    return json.dumps(text, ensure_ascii=False) if text else ""


def token(token_id: int) -> str:
    """A rule's part that is one added token."""
    return f"<[{token_id}]>"


def json_rule(schema: Mapping[str, Any], *, fixed: bool) -> str:
    """A rule's part for JSON that follows ``schema``, which `check_schema` has passed.

    ``fixed`` separates as json.dumps does; else there may be a little white space. Where an object
    lists its properties and does not speak of others, it gets no others.
    """
    own = _FIXED if fixed else _FLEXIBLE
    return "%json " + json.dumps({**_closed(schema), _OWN_KEY: own}, ensure_ascii=False)


def behind_thought(opening: int | None, closing: int | None, *, begins_in_thought: bool) -> str:
    """Rules from the start to the rule ``answer``, which comes behind a thought if there is one.

    ``opening`` and ``closing`` are the added tokens around a thought, as far as there are such.
    ``begins_in_thought`` is of a prompt that has opened it.
    """
    if begins_in_thought and closing is not None:
        return f"start: THOUGHT {token(closing)} answer\n{_THOUGHT}"
    if begins_in_thought:
        return "start: thought answer\nthought[lazy]: /(?s:.*)<\\/think>/\n"
    if opening is not None and closing is not None:
        thought = f"thought: {token(opening)} THOUGHT {token(closing)}\n"
        return f"start: thought? answer\n{thought}{_THOUGHT}"
    return "start: answer\n"


def check_schema(schema: object, where: str) -> Mapping[str, Any]:
    """Raise `PromptError`, which begins with ``where``, for what is no schema of a sane size."""
    if not isinstance(schema, Mapping):
        raise PromptError(f"{where} is no JSON schema: give an object such as {dict(ANY_OBJECT)}")
    if is_deep(schema):
        raise PromptError(f"{where} is nested more than {MAX_DEPTH} deep: make it flatter")
    try:
        written = json.dumps(schema, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise PromptError(f"{where} cannot be written as JSON: {error}") from error
    if len(written) > MAX_SCHEMA_BYTES:
        raise PromptError(
            f"{where} has {len(written)} bytes; at most {MAX_SCHEMA_BYTES} are read: shorten it"
        )
    return schema


def place_of(keyword: str, schema: object, path: str = "#") -> str | None:
    """Where a keyword stands first, as a JSON pointer, or None."""
    if isinstance(schema, Mapping):
        if keyword in schema:
            return f"{path}/{keyword}"
        parts: Sequence[tuple[object, object]] = [*schema.items()]
    elif isinstance(schema, list | tuple):
        parts = [*enumerate(schema)]
    else:
        return None
    found = (place_of(keyword, part, f"{path}/{name}") for name, part in parts)
    return next((place for place in found if place), None)


def _closed(schema: Any) -> Any:
    if not isinstance(schema, Mapping):
        return schema
    closed = dict(schema)
    for key in _SCHEMAS_BY_NAME:
        if isinstance(named := schema.get(key), Mapping):
            closed[key] = {name: _closed(one) for name, one in named.items()}
    for key in _SCHEMAS:
        if isinstance(schema.get(key), Mapping):
            closed[key] = _closed(schema[key])
    for key in _LISTS:
        if isinstance(listed := schema.get(key), list):
            # What parts of an intersection do not name, its other parts may.
            closed[key] = listed if key == "allOf" else [_closed(one) for one in listed]
    silent = not closed.keys() & {"additionalProperties", "patternProperties", *_LISTS, "$ref"}
    named, required = closed.get("properties"), closed.get("required") or ()
    # What `required` is otherwise, older drafts' `true` for one, the library has an opinion on.
    are_names = isinstance(required, list | tuple) and all(isinstance(one, str) for one in required)
    if silent and isinstance(named, Mapping) and are_names and {*required} <= named.keys():
        closed["additionalProperties"] = False
    return closed


def is_deep(value: object) -> bool:
    """Whether objects and lists are nested more than `MAX_DEPTH` deep."""
    level = [value]
    for _ in range(MAX_DEPTH):
        below: list[object] = []
        for one in level:
            if isinstance(one, Mapping):
                below += one.values()
            elif isinstance(one, list | tuple):
                below += one
        if not below:
            return False
        level = below
    return True

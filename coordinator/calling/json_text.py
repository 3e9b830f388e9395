"""JSON objects within an answer, of which each value is kept as the model wrote it."""

import json
import re
from typing import Any, NoReturn

from pi_cluster.coordinator.calling.feed import Feed, Reading
from pi_cluster.coordinator.constraining.grammar import MAX_DEPTH, is_deep

_SPACES = re.compile(r"[ \t\n\r]*")
_HALF = re.compile("[\ud800-\udfff]")
_ARGUMENTS = ("arguments", "parameters")


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse)


def is_mark(character: str) -> bool:
    """Whether it stands for an added token."""
    return "\ud800" <= character <= "\udbff"


def solid(feed: Feed) -> Reading[str]:
    """The next character that is no white space; "" at the end."""
    while (character := (yield from feed.take())).isspace():
        pass
    return character


def object_text(feed: Feed) -> Reading[str | None]:
    """Take an object that comes next, to its last brace; None where none comes.

    Then what was taken last is not of it. Whether it is sound inside is for `members` to find out.
    """
    character = yield from solid(feed)
    if character != "{":
        return None
    taken, depth, in_string, is_escaped = [character], 1, False, False
    while depth:
        character = yield from feed.take()
        if not character or is_mark(character):
            return None
        taken.append(character)
        if is_escaped:
            is_escaped = False
        elif in_string:
            is_escaped, in_string = character == "\\", character != '"'
        elif character == '"':
            in_string = True
        elif character in "{[":
            depth += 1
        elif character in "}]":
            depth -= 1
        if depth > MAX_DEPTH:
            return None
    return "".join(taken)


def members(text: str) -> dict[str, tuple[Any, str]] | None:
    """The values of an object, each also as it is written; None for what is no object."""
    found: dict[str, tuple[Any, str]] = {}
    try:
        at = _behind_spaces(text, 1)
        while text[at] != "}" or found:
            name, at = _DECODER.raw_decode(text, at)
            at = _behind_spaces(text, at)
            if not isinstance(name, str) or text[at] != ":":
                return None
            begin = _behind_spaces(text, at + 1)
            value, end = _DECODER.raw_decode(text, begin)
            found[name] = value, text[begin:end]
            at = _behind_spaces(text, end)
            if text[at] == "}":
                break
            if text[at] != ",":
                return None
            at = _behind_spaces(text, at + 1)
    except (ValueError, IndexError, RecursionError):
        return None
    return found if at == len(text) - 1 else None


def called_by(text: str) -> tuple[str, str] | None:
    """The name and the arguments of ``{"name": ..., "arguments": {...}}``, or None.

    Llama says ``parameters``. Arguments may be missing, or be an object within a string.
    """
    written = members(text)
    if written is None:
        return None
    name, _ = written.get("name", (None, ""))
    value, arguments = next((written[key] for key in _ARGUMENTS if key in written), (None, ""))
    if value is None:
        arguments = "{}"
    elif isinstance(value, str):
        arguments = value.strip()
    found = members(arguments) if arguments.startswith("{") else None
    is_sound = found is not None and not is_deep([value for value, _ in found.values()])
    return (name, arguments) if isinstance(name, str) and is_sound else None


def read_json(text: str) -> Any:
    """The value of JSON text. Half a character, which an escape can spell, becomes U+FFFD.

    Raises ``ValueError`` and ``RecursionError`` as ``json.loads`` does.
    """
    value = json.loads(text)
    written = json.dumps(value, ensure_ascii=False)
    if _HALF.search(written):
        whole = written.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        value = json.loads(whole)
    return value


def _behind_spaces(text: str, at: int) -> int:
    found = _SPACES.match(text, at)
    assert found, "it may be empty"
    return found.end()

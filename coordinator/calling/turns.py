"""The turns of a conversation, checked, with calls and their results matched."""

import hashlib
import re
import string
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from pi_cluster.coordinator.calling.json_text import read_json
from pi_cluster.transformer.errors import PromptError

_TAKEN_ID = re.compile(r"[A-Za-z0-9]{9}")  # by Mistral's templates, which refuse others
_DIGITS = string.ascii_letters + string.digits


def checked_turns(turns: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The same turns as chat templates take them.

    Arguments are objects where they are JSON objects at all, ids have nine letters and digits, and
    a result has the name of what was called. A result without an id is that of the first call that
    has none yet. Raises ``PromptError`` for what is no turn, and for a result of a call that nobody
    made.
    """
    checked: list[Mapping[str, Any]] = []
    unanswered: dict[str, str] = {}  # names by ids
    for place, turn in enumerate(turns, 1):
        role, content, calls = turn.get("role"), turn.get("content"), turn.get("tool_calls")
        if not isinstance(role, str) or not isinstance("" if calls else content, str):
            raise PromptError(f"a turn has a role and a content, which are texts; not {turn!r}")
        if calls and role != "assistant":
            raise PromptError(f"turn {place} calls tools: only the assistant does")
        if calls:
            read = [*_calls(place, calls)]
            unanswered.update((call["id"], call["function"]["name"]) for call in read)
            checked.append({**turn, "content": content or "", "tool_calls": read})
        elif role == "tool":
            checked.append(_result(place, turn, unanswered))
        else:
            checked.append({key: value for key, value in turn.items() if key != "tool_calls"})
    return checked


def _calls(place: int, calls: object) -> Iterator[Mapping[str, Any]]:
    if not isinstance(calls, Sequence):
        raise PromptError(f"the tool_calls of turn {place} are no list")
    for number, call in enumerate(calls):
        function = call.get("function") if isinstance(call, Mapping) else None
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
            raise PromptError(
                f'a call in turn {place} is not {{"function": {{"name": ..., "arguments": ...}}}}'
            )
        arguments = _arguments(place, function["name"], function.get("arguments"))
        called = {"name": function["name"], "arguments": arguments}
        given = str(call.get("id") or f"{place} {number}")
        yield {"id": _nine(given), "type": "function", "function": called}


def _arguments(place: int, name: str, given: object) -> Mapping[str, Any] | str:
    if isinstance(given, str):
        # A model may have written what is no JSON, and the conversation is to go on.
        with suppress(ValueError, RecursionError):
            read = read_json(given or "{}")
            return read if isinstance(read, Mapping) else given
        return given
    if given is not None and not isinstance(given, Mapping):
        raise PromptError(f"the arguments of {name!r} in turn {place} are no JSON object")
    return given or {}


def _result(place: int, turn: Mapping[str, Any], unanswered: dict[str, str]) -> Mapping[str, Any]:
    given, name = turn.get("tool_call_id"), turn.get("name")
    if given:
        call_id = _nine(str(given))
    else:
        of_name = (one for one, called in unanswered.items() if name in (None, called))
        call_id = next(of_name, "")
    if call_id not in unanswered:
        raise PromptError(
            f"turn {place} is the result of {f'call {given!r}' if given else 'a call'}, which no "
            "earlier turn made or which has one already"
        )
    called = unanswered.pop(call_id)
    return {**turn, "tool_call_id": call_id, "name": name or called}


def _nine(given: str) -> str:
    """An id of the form that all templates take, the same for the same one."""
    if _TAKEN_ID.fullmatch(given):
        return given
    number = int.from_bytes(hashlib.sha256(given.encode(errors="replace")).digest())
    digits = []
    for _ in range(9):
        number, digit = divmod(number, len(_DIGITS))
        digits.append(_DIGITS[digit])
    return "".join(digits)

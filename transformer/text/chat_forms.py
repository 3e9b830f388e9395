"""The same chat in the forms that strict templates take.

Some templates refuse a system message, or roles that do not alternate. What programs send is often
neither: so a refused chat is tried again with neighbours of one role as one message, and then with
the system's text in front of what the user says next.
"""

import hashlib
import json
import re
import string
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import zip_longest
from typing import Any

Messages = Sequence[Mapping[str, Any]]
_JOIN = "\n\n"
_ID = re.compile(r"[A-Za-z0-9]{9}")  # Mistral's templates take no other
_ID_LETTERS = string.digits + string.ascii_letters


def forms_of_calls(messages: Messages) -> Iterator[Messages]:
    """Each form of a chat, of which those with calls have their arguments as objects, then as text.

    OpenAI's API has arguments as text; most templates write an object of them. Ids of calls that
    came from elsewhere become such as every template takes, always the same ones.
    """
    if not any(one.get("tool_calls") or one.get("role") == "tool" for one in messages):
        yield from forms(messages)
        return
    as_objects = [_with_calls(message, as_text=False) for message in messages]
    as_texts = [_with_calls(message, as_text=True) for message in messages]
    for both in zip_longest(forms(as_objects), forms(as_texts)):
        yield from filter(None, both)


def forms(messages: Messages) -> Iterator[Messages]:
    """The chat as it was sent, then each other form of it, as far as they differ."""
    seen: list[Messages] = []
    merged = _merged(messages)
    for form in (messages, merged, _merged(_folded(merged))):
        if [*form] not in seen:
            seen.append([*form])
            yield form


def _with_calls(message: Mapping[str, Any], *, as_text: bool) -> Mapping[str, Any]:
    if message.get("role") == "tool" and message.get("tool_call_id"):
        return {**message, "tool_call_id": _known_id(message["tool_call_id"])}
    if not message.get("tool_calls"):
        return message
    calls = []
    for call in message["tool_calls"]:
        function = {**call["function"]}
        function["arguments"] = _arguments(function.get("arguments") or {}, as_text=as_text)
        calls.append({**call, "id": _known_id(call.get("id") or ""), "function": function})
    return {**message, "content": message.get("content") or "", "tool_calls": calls}


def _arguments(given: Any, *, as_text: bool) -> Any:
    if as_text:
        return given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)
    if isinstance(given, str):
        with suppress(ValueError):
            return json.loads(given)
    return given


def _known_id(given: str) -> str:
    if _ID.fullmatch(given):
        return given
    number = int.from_bytes(hashlib.sha256(given.encode(errors="replace")).digest(), "big")
    return "".join(_ID_LETTERS[number // 62**place % 62] for place in range(9))


def _merged(messages: Messages) -> Messages:
    """Neighbours of one role are one message; results of tools stay apart."""
    merged: list[Mapping[str, Any]] = []
    for message in messages:
        before = merged[-1] if merged else None
        if before and _are_one_turn(before, message):
            merged[-1] = _joined(before, message)
        else:
            merged.append(message)
    return merged


def _folded(messages: Messages) -> Messages:
    """The system's texts begin what the user says next, or end what the user said last."""
    folded: list[Mapping[str, Any]] = []
    held: Mapping[str, Any] | None = None
    for message in messages:
        if message.get("role") == "system":
            held = message if held is None else _joined(held, message)
        elif held is not None and message.get("role") == "user":
            folded.append({**_joined(held, message), "role": "user"})
            held = None
        else:
            folded.append(message)
    if held is None:
        return folded
    follows_user = bool(folded) and folded[-1].get("role") == "user"
    return [*folded, {**held, "role": "user"} if follows_user else held]


def _are_one_turn(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    role = one.get("role")
    texts = all(isinstance(m.get("content"), str) for m in (one, other))
    return texts and role == other.get("role") and role in ("system", "user", "assistant")


def _joined(one: Mapping[str, Any], other: Mapping[str, Any]) -> Mapping[str, Any]:
    content = _JOIN.join(filter(None, (one["content"], other["content"])))
    calls = [*(one.get("tool_calls") or ()), *(other.get("tool_calls") or ())]
    return {**one, **other, "content": content, **({"tool_calls": calls} if calls else {})}

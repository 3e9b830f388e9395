"""The same chat in the forms that strict templates take.

Some templates refuse a system message, or roles that do not alternate. What programs send is often
neither: so a refused chat is tried again with neighbours of one role as one message, and then with
the system's text in front of what the user says next. Most templates want the arguments of earlier
calls as objects; last of all they are tried as JSON texts.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Messages = Sequence[Mapping[str, Any]]
_JOIN = "\n\n"


def forms(messages: Messages) -> Iterator[Messages]:
    """The chat as it was sent, then each other form of it, as far as they differ."""
    seen: list[Messages] = []
    for written in (messages, [_with_texts(message) for message in messages]):
        merged = _merged(written)
        for form in (written, merged, _merged(_folded(merged))):
            if [*form] not in seen:
                seen.append([*form])
                yield form


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


def _with_texts(message: Mapping[str, Any]) -> Mapping[str, Any]:
    calls = message.get("tool_calls")
    if not calls:
        return message
    return {**message, "tool_calls": [_with_text(call) for call in calls]}


def _with_text(call: Mapping[str, Any]) -> Mapping[str, Any]:
    function = call["function"]
    given = function["arguments"]
    text = given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)
    return {**call, "function": {**function, "arguments": text}}

"""Messages as OpenAI's clients write them, as turns that a chat template reads."""

from collections.abc import Sequence
from typing import Any

from pi_cluster.server.http.refusal import Refusal
from pi_cluster.server.openai.requests import ChatMessage, ContentPart, EarlierCall

_ROLES = {"developer": "system"}


def turns_of(messages: Sequence[ChatMessage]) -> list[dict[str, Any]]:
    """The turns of a conversation. Raises ``Refusal`` for none, and for what is no text."""
    if not messages:
        raise Refusal(400, "invalid_value", "`messages` is empty: send one", field_name="messages")
    return [_turn(place, message) for place, message in enumerate(messages)]


def _turn(place: int, message: ChatMessage) -> dict[str, Any]:
    role = _ROLES.get(message.role, message.role)
    turn: dict[str, Any] = {"role": role, "content": _text(place, message.content)}
    if message.name is not None:
        turn["name"] = message.name
    if message.tool_call_id is not None:
        turn["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        turn["tool_calls"] = [_call(call) for call in message.tool_calls]
    return turn


def _text(place: int, content: str | list[ContentPart] | None) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    texts = []
    for part in content:
        text = part.refusal if part.type == "refusal" else part.text
        if text is None:
            raise Refusal(
                *(400, "unsupported_value"),
                f"the model reads text alone: leave the part of type {part.type!r} out",
                field_name=f"messages[{place}].content",
            )
        texts.append(text)
    return "\n".join(texts)


def _call(call: EarlierCall) -> dict[str, Any]:
    function = {"name": call.function.name, "arguments": call.function.arguments}
    return {"id": call.id or "", "type": "function", "function": function}

"""Messages as Ollama's clients write them, as turns that a chat template reads."""

from collections.abc import Sequence
from typing import Any

from pi_cluster.server.http.refusal import Refusal
from pi_cluster.server.ollama.requests import EarlierCall, OllamaMessage


def turns_of(messages: Sequence[OllamaMessage]) -> list[dict[str, Any]]:
    """The turns of a conversation. Raises ``Refusal`` for pictures.

    Home Assistant cuts off the beginning of long conversations wherever that is: results whose
    calls are gone are left out.
    """
    turns = []
    waiting = 0  # calls without a result
    for place, message in enumerate(messages):
        if message.images:
            refuse_images(f"messages[{place}].images")
        if message.role == "tool":
            if not waiting:
                continue
            waiting -= 1
        turn: dict[str, Any] = {"role": message.role, "content": message.content or ""}
        if message.tool_calls:
            waiting += len(message.tool_calls)
            turn["tool_calls"] = [_call(call) for call in message.tool_calls]
        if message.tool_name:
            turn["name"] = message.tool_name
        if message.tool_call_id:
            turn["tool_call_id"] = message.tool_call_id
        turns.append(turn)
    return turns


def refuse_images(field: str) -> None:
    """Refuse pictures."""
    raise Refusal(
        *(400, "unsupported_value"),
        "this model reads text alone: leave `images` out",
        field_name=field,
    )


def _call(call: EarlierCall) -> dict[str, Any]:
    function = {"name": call.function.name, "arguments": call.function.arguments or {}}
    return {"type": "function", "function": function, **({"id": call.id} if call.id else {})}

"""Messages as Ollama's clients write them, as turns that a chat template reads."""

from collections.abc import Sequence
from typing import Any

from pi_cluster.server.http.refusal import Refusal
from pi_cluster.server.ollama.requests import OllamaMessage


def turns_of(messages: Sequence[OllamaMessage]) -> list[dict[str, Any]]:
    """The turns of a conversation. Raises ``Refusal`` for pictures.

    Calls get ids, which Ollama's clients mostly leave out: a result belongs to the first call of
    its tool that has none yet, and to the first of all where it names no tool.
    """
    waiting: list[tuple[str, str]] = []  # ids and names of calls without a result
    turns = []
    for place, message in enumerate(messages):
        if message.images:
            refuse_images(f"messages[{place}].images")
        turn: dict[str, Any] = {"role": message.role, "content": message.content or ""}
        if message.tool_calls:
            calls: list[dict[str, Any]] = []
            for call in message.tool_calls:
                function = call.function
                call_id = call.id or f"{place:05}{len(calls):04}"  # as long as Mistral's are
                waiting.append((call_id, function.name))
                called = {"name": function.name, "arguments": function.arguments or {}}
                calls.append({"id": call_id, "type": "function", "function": called})
            turn["tool_calls"] = calls
        elif message.role == "tool":
            turn |= _answered(waiting, message)
        turns.append(turn)
    return turns


def refuse_images(field: str) -> None:
    """Refuse pictures."""
    raise Refusal(
        *(400, "unsupported_value"),
        "this model reads text alone: leave `images` out",
        field_name=field,
    )


def _answered(waiting: list[tuple[str, str]], result: OllamaMessage) -> dict[str, str]:
    """Which call a result belongs to, which then waits no more."""
    said_id, said_name = result.tool_call_id, result.tool_name
    for at, (call_id, name) in enumerate(waiting):
        if (said_id or call_id) == call_id and (said_name or name) == name:
            del waiting[at]
            return {"tool_call_id": call_id, "name": name}
    found = {"tool_call_id": said_id, "name": said_name}
    return {key: value for key, value in found.items() if value}

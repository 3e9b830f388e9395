"""Conversations that a strict chat template refuses, told in turns that alternate."""

from collections.abc import Mapping, Sequence
from typing import Any

Turns = Sequence[Mapping[str, Any]]


def alternating(turns: Turns) -> list[dict[str, Any]]:
    """The same conversation: texts of one side that follow each other are one turn of it.

    What the system says goes in front of the user's next turn. Calls of tools and their results
    stay turns of their own.
    """
    told: list[dict[str, Any]] = []
    said_by_system: list[str] = []
    for turn in turns:
        if turn["role"] == "system":
            said_by_system.append(turn["content"])
            continue
        if turn["role"] == "user":
            turn = {**turn, "content": "\n\n".join([*said_by_system, turn["content"]])}
            said_by_system = []
        _add(told, turn)
    if said_by_system:
        _add(told, {"role": "user", "content": "\n\n".join(said_by_system)})
    return told


def _add(told: list[dict[str, Any]], turn: Mapping[str, Any]) -> None:
    if told and _is_text(told[-1]) and _is_text(turn) and told[-1]["role"] == turn["role"]:
        told[-1]["content"] = f"{told[-1]['content']}\n\n{turn['content']}"
    else:
        told.append(dict(turn))


def _is_text(turn: Mapping[str, Any]) -> bool:
    return turn["role"] in ("user", "assistant") and not turn.get("tool_calls")

"""Streams of Ollama's API, read as its own clients read them, and as Home Assistant does.

Written after what their packages do: ollama 0.6.3 and Home Assistant 2026.11.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any


def parse(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """One object a line. A blank line fails, as do an error and what comes behind the end."""
    is_done = False
    for raw in lines:
        assert not is_done, f"{raw!r} comes behind the end"
        assert raw.endswith(b"\n"), raw
        told = json.loads(raw)
        assert "error" not in told, told
        is_done = told["done"]
        assert told["model"] and told["created_at"]
        yield told
    assert is_done, "the stream ends early"


@dataclass
class HomeAssistant:
    """Adds up what a message grows by."""

    text: str = ""
    thought: str = ""
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def read(self, lines: Iterable[bytes]) -> None:
        """Read a whole stream; arguments that are empty are left out there."""
        for told in parse(lines):
            message = told["message"]
            for call in message.get("tool_calls") or ():
                name, arguments = call["function"]["name"], call["function"]["arguments"]
                kept = {key: one for key, one in arguments.items() if one not in (None, "")}
                self.calls.append((name, kept))
            self.text += message.get("content") or ""
            self.thought += message.get("thinking") or ""

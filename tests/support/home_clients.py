"""How Home Assistant and Open WebUI read a stream: each drops or refuses what it does not expect.

Written after what their packages do: Home Assistant 2026.11 (llama.cpp integration) and Open WebUI
0.12.4 (OpenAI mode).
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.support.event_stream import Comment


@dataclass
class HomeAssistant:
    """Reads one choice, the first call of each chunk, and leaves at the finish."""

    role: str = ""
    text: str = ""
    calls: list[dict[str, Any]] = field(default_factory=list)
    finish: str = ""

    def read(self, events: Iterable[Any]) -> None:
        """Read up to the finish; raises for what fails there."""
        for event in events:
            if isinstance(event, Comment) or not event["choices"]:
                continue
            choice = event["choices"][0]
            if choice["finish_reason"]:
                self.finish = choice["finish_reason"]
                break
            self._take(choice["delta"])
        for call in self.calls:
            call["arguments"] = json.loads(call["arguments"])

    def _take(self, delta: dict[str, Any]) -> None:
        calls = delta.get("tool_calls")
        if not calls:
            assert not (self.calls and delta.get("content")), "text behind a call is dropped"
            self.role = self.role or delta.get("role", "")
            self.text += delta.get("content") or ""
            return
        assert len(calls) == 1, "only the first call of a chunk is read"
        call = calls[0]
        if self.calls and self.calls[-1]["index"] == call["index"]:
            self.calls[-1]["arguments"] += call["function"].get("arguments") or ""
            return
        self.calls.append(
            {
                "index": call["index"],
                "id": call["id"],
                "name": call["function"]["name"],
                "arguments": call["function"].get("arguments") or "",
            }
        )


@dataclass
class OpenWebUI:
    """Collects text, thoughts and what a message cost."""

    text: str = ""
    thought: str = ""
    usage: dict[str, Any] = field(default_factory=dict)

    def read(self, lines: Iterable[bytes]) -> None:
        """Read all lines of a body; what begins with ``data:`` counts."""
        for raw in lines:
            line = raw.decode().strip()
            if not line.startswith("data:"):
                continue
            data = line.removeprefix("data:").strip()
            if data == "[DONE]":
                continue
            event = json.loads(data)
            assert "error" not in event, event
            self.usage |= event.get("usage") or {}
            self.usage |= event.get("timings") or {}
            for choice in event.get("choices", [])[:1]:
                delta = choice.get("delta", {})
                self.text += delta.get("content") or ""
                self.thought += delta.get("reasoning_content") or ""

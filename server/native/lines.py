"""An answer as lines of JSON, with all that a command shows of it."""

from dataclasses import asdict
from typing import Any

import msgspec

from pi_cluster.coordinator.asking.parts import Said, Thought
from pi_cluster.coordinator.standing import Held, Reading, Standing, Waiting
from pi_cluster.server.asking.reply import Ended, Event, Reply
from pi_cluster.server.http.failures import refusal_of

MEDIA_TYPE = "application/x-ndjson"


def line(**value: Any) -> bytes:
    """One line."""
    return msgspec.json.encode(value) + b"\n"


class AnswerLines:
    """``begin``; then ``said``, ``thought`` and what it waits for; ``answer`` or ``error``."""

    media_type = MEDIA_TYPE

    def __init__(self, reply: Reply, ticket: str, notes: list[str]) -> None:
        """``ticket`` cancels the answer; ``notes`` are for whoever asks."""
        self._begin = line(
            begin={
                "ticket": ticket,
                "id": reply.name,
                "notes": notes,
                "in_thought": reply.begins_in_thought,
            }
        )

    def opening(self) -> bytes:
        """By what it is cancelled, and by what it is gone on with."""
        return self._begin

    def event(self, event: Event) -> bytes:
        """Its parts, a line each, or all of it."""
        if isinstance(event, Ended):
            return line(answer=event.answer)
        lines = b""
        for part in event.piece.parts:
            match part:
                case Said(text):
                    lines += line(said=text)
                case Thought(text):
                    lines += line(thought=text)
        return lines

    def silence(self, standing: Standing | None) -> bytes:
        """What is waited for."""
        match standing:
            case Held(reason):
                return line(held=reason)
            case Waiting():
                return line(waiting=asdict(standing))
            case Reading():
                return line(reading=asdict(standing))
        return line(alive=True)

    def failure(self, error: Exception) -> bytes:
        """The error, with its kind: some help further that way."""
        return line(error={"kind": type(error).__name__, "message": refusal_of(error).message})

    def closing(self) -> bytes:
        """Nothing: the answer was the end."""
        return b""

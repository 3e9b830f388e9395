"""Answers gathered for those who want them whole."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Protocol

from pi_cluster.coordinator.asking.answer import Answer
from pi_cluster.coordinator.asking.parts import Part, Said, Thought
from pi_cluster.server.asking.reply import Ended, Event
from pi_cluster.server.asking.untagged import Untagged


class Events(Protocol):
    """What a request has come to, as it comes; left early, it is cancelled."""

    def __aiter__(self) -> AsyncGenerator[Event, None]:
        """Ask, once."""
        ...

    def close(self) -> None:
        """Let go of it, whether it was iterated or not."""
        ...


@dataclass(slots=True)
class Gathered:
    """One whole answer, its parts told apart."""

    answer: Answer
    parts: list[Part] = field(default_factory=list)
    """Without the tags of thoughts; empty where the model has no text."""

    @property
    def said(self) -> str:
        """The text for whoever asked."""
        return "".join(part.text for part in self.parts if isinstance(part, Said))

    @property
    def thought(self) -> str:
        """By which the model came to it; often empty."""
        return "".join(part.text for part in self.parts if isinstance(part, Thought))


async def gather(reply: Events) -> Sequence[Gathered]:
    """All answers of a reply, in the order of their choices; raises what ended it."""
    parts: dict[int, list[Part]] = {}
    tags: dict[int, Untagged] = {}
    whole: dict[int, Gathered] = {}
    async with aclosing(aiter(reply)) as events:
        async for event in events:
            of = parts.setdefault(event.choice, [])
            if isinstance(event, Ended):
                whole[event.choice] = Gathered(event.answer, of)
            else:
                untagged = tags.setdefault(event.choice, Untagged())
                of.extend(untagged.part(part) for part in event.piece.parts)
    return [whole[choice] for choice in sorted(whole)]

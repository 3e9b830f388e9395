"""A request from its arrival to its end, for the log and the metrics; it holds no text."""

import time
from dataclasses import dataclass, field

from starlette.types import Scope

from pi_cluster.coordinator.asking.answer import Answer
from pi_cluster.server.asking.reply import Ended, Event, Reply

LEFT = "left"
"""Why an answer ended whose client has gone."""


@dataclass(slots=True, eq=False)
class Visit:
    """What is known of one request so far."""

    method: str
    path: str
    client: str
    """The address that it came from; empty where it came by a file."""
    asker: str = ""
    """The name of its key; empty without one."""
    status: int = 0
    """0 until the response has begun."""
    began_s: float = field(default_factory=time.monotonic)
    asks: Reply | None = None
    """What it asks the pipeline for, once it does."""
    answers: list[Answer] = field(default_factory=list)
    gaps_s: list[float] = field(default_factory=list)
    """Times between a piece of an answer and its next."""
    outcome: str = ""
    """Why it ended without an answer: a word of `failures`, or `LEFT`."""
    _grown_s: dict[int, float] = field(default_factory=dict)

    @classmethod
    def of(cls, scope: Scope) -> "Visit":
        """That of a request: the guard's, or a new one where nobody guards."""
        known = scope.setdefault("state", {}).get("visit")
        if isinstance(known, cls):
            return known
        client = scope.get("client")
        made = cls(scope["method"], scope["path"], client[0] if client else "")
        scope["state"]["visit"] = made
        return made

    @property
    def has_grown(self) -> bool:
        """Whether any answer has begun."""
        return bool(self._grown_s)

    @property
    def finish(self) -> str:
        """Why it ended, in a word; empty for what asked nothing and went well."""
        return self.outcome or ",".join(answer.finish_reason.value for answer in self.answers)

    @property
    def prompt_tokens(self) -> int:
        """Of what was asked, counted once however many answers it wanted."""
        return len(self.answers[0].prompt_ids) if self.answers else 0

    @property
    def generated_tokens(self) -> int:
        """Of all answers."""
        return sum(len(answer.ids) for answer in self.answers)

    def take(self, event: Event, now_s: float) -> None:
        """An answer has grown, or is complete."""
        if isinstance(event, Ended):
            self.answers.append(event.answer)
            return
        before = self._grown_s.get(event.choice)
        self._grown_s[event.choice] = now_s
        if before is not None:
            self.gaps_s.append(now_s - before)

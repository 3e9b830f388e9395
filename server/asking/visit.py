"""A request from its arrival to its end, for the log and the metrics; it holds no text."""

import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field

from pi_cluster.coordinator.asking.answer import Answer

LEFT = "left"
"""Why an answer ended whose client has gone."""
FAILED = "failed"
"""Why an answer ended that the pipeline could not give."""


def _nothing() -> bool:
    return False


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
    has_asked: bool = False
    """Whether it asked the pipeline for something."""
    waits: Callable[[], bool] = _nothing
    """Whether that is still to begin, as it waits for its turn or for the pipeline."""
    answers: list[Answer] = field(default_factory=list)
    gaps_s: list[float] = field(default_factory=list)
    """Times between a piece of an answer and its next."""
    outcome: str = ""
    """Why it ended without all that it asked for, in a word."""
    _grown_s: dict[int, float] = field(default_factory=dict)

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

    def grew(self, choice: int) -> None:
        """One of its answers has grown."""
        now_s = time.monotonic()
        before_s = self._grown_s.get(choice)
        self._grown_s[choice] = now_s
        if before_s is not None:
            self.gaps_s.append(now_s - before_s)

    def let_go(self) -> None:
        """Forget its answers, once nobody asks for them any more.

        A connection's timers remember in whose request they were set, until they are due: for a
        minute behind it.
        """
        self.waits = _nothing
        self.answers.clear()
        self.gaps_s.clear()


current_visit: ContextVar[Visit | None] = ContextVar("visit", default=None)
"""That of the request which a task serves; None where nobody guards."""

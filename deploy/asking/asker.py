"""Whoever answers a command's questions: a server, or the nodes themselves."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from pi_cluster.coordinator.asking.answer import Answer

if TYPE_CHECKING:
    from pi_cluster.coordinator.asking.question import AskKeywords, Prompt

Show = Callable[[str, bool], None]
"""Told of each part of an answer as it comes, and whether the model thinks it."""


class Asker(Protocol):
    """Asks one question after another, until it is closed."""

    def check(self, prompt: "Prompt", keywords: "AskKeywords") -> None:
        """Raise what `answer` would before it asks."""
        ...

    def answer(
        self, prompt: "Prompt", keywords: "AskKeywords", show: Show | None = None
    ) -> "tuple[Answer, bool]":
        """Ask, showing what comes, until the answer ends or Ctrl-C.

        Returns it, and whether it begins within a thought that the prompt has opened. An answer
        that breaks off ends its line. Ctrl-C while the question waits its turn is raised.
        """
        ...

    def close(self) -> None:
        """Let go of whoever answers."""
        ...

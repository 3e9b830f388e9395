"""Standard streams that are terminals: whatever is written to them is made harmless first.

Apart from the console, since every command wants this and not every one a console.
"""

import sys
from collections.abc import Iterable
from typing import Any, TextIO, cast

from pi_cluster.cluster.shown import shown_text


class GuardedStream:
    """A standard stream that is a terminal: what is written is made harmless first."""

    def __init__(self, terminal: TextIO) -> None:
        self.terminal = terminal

    def write(self, text: str) -> int:
        """Write text; returns how much of it was taken, which is all."""
        self.terminal.write(shown_text(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        if name == "buffer":  # bytes would go past
            raise AttributeError(name)
        return getattr(self.terminal, name)


def guard_terminals() -> None:
    """From now on nothing harmful is written to a standard stream that is a terminal."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, GuardedStream) and stream.isatty():
            setattr(sys, name, cast(TextIO, GuardedStream(stream)))

"""The way to a terminal: what strangers told is made harmless on it, whoever prints it.

Two doors, and no third: rich's console, whose own colours and cursor movements are let through
while all text is not; and the standard streams (`guarded_stream.py`), for whatever is written
without it. A file or a pipe gets what is written to a stream as it is, since there it is data; what
goes by the console is made for people, and is harmless everywhere.
"""

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.status import Status
from rich.text import Text

from pi_cluster.cluster.shown import shown_text
from pi_cluster.deploy.screen.guarded_stream import GuardedStream


class HarmlessConsole(Console):
    """A console that shows text as it stands: no markup, no links, no control characters."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, highlight=False, markup=False, emoji=False)

    @property
    def file(self) -> Any:
        """The stream, past its guard: what comes here is rendered already."""
        stream = super().file
        return stream.terminal if isinstance(stream, GuardedStream) else stream

    @file.setter
    def file(self, new_file: Any) -> None:
        self._file = new_file

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """As rich does it, with all text made harmless."""
        return map(_harmless, super().render(renderable, options))

    def status(self, status: RenderableType, **kwargs: Any) -> Status:
        """A line with something that moves; its text is no markup either."""
        return super().status(Text(status) if isinstance(status, str) else status, **kwargs)


def _harmless(segment: Segment) -> Segment:
    if segment.control:
        return segment
    style = segment.style
    if style and style.link:
        style = style.update_link(None)
    return Segment(shown_text(segment.text), style)

"""The way to a terminal: what strangers told is made harmless on it, whoever prints it.

Two doors, and no third: rich's console, whose own colours and cursor movements are let through
while all text is not; and the standard streams (`guarded_stream.py`), for whatever is written
without it. A file or a pipe gets what is written to a stream as it is, since there it is data; what
goes by the console is made for people, and is harmless everywhere.
"""

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleDimensions, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.status import Status
from rich.text import Text

from pi_cluster.cluster.shown import shown_text
from pi_cluster.deploy.screen.guarded_stream import GuardedStream
from pi_cluster.deploy.screen.terminal import is_screen

_NO_WIDTH = 1 << 20  # of a pipe or a log: more columns than any line has
_SOME_LINES = 25


class HarmlessConsole(Console):
    """A console that shows text as it stands: no markup, no links, no control characters.

    Where there is no screen it has no width either: nothing is cut or broken into lines.
    """

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

    @property
    def is_screen(self) -> bool:
        """Whether it is a terminal that has a width, and lines that can be drawn anew."""
        # Colours may be forced into a pipe; a width may not.
        return self.is_terminal and is_screen(self.file)

    @property  # type: ignore[misc]  # nobody sets it
    def size(self) -> ConsoleDimensions:
        """Columns and lines."""
        return super().size if self.is_screen else ConsoleDimensions(_NO_WIDTH, _SOME_LINES)

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

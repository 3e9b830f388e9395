"""An answer on standard output, as it comes: on a screen it is broken between words."""

import contextlib
import sys

from pi_cluster.cluster.shown import shown_text
from pi_cluster.deploy.screen.terminal import is_screen, screen_columns
from pi_cluster.deploy.screen.wrapping import WordWrap


class ShownAnswer:
    """What is written of an answer, and whether it stands in the middle of a line."""

    def __init__(self) -> None:
        self.is_open = False
        self._wrap = WordWrap(screen_columns)

    def write(self, piece: str) -> None:
        """Show a piece; on a screen its last word perhaps with the next one, or a line break."""
        # What a terminal's guard writes out takes room on the line.
        text = self._wrap.push(shown_text(piece)) if is_screen(sys.stdout) else piece
        sys.stdout.write(text)
        sys.stdout.flush()
        if piece:
            self.is_open = not piece.endswith("\n")

    def end_line(self) -> None:
        """Go to the next line, unless it stands at the beginning of one."""
        if self.is_open:
            self.is_open = False
            with contextlib.suppress(OSError, ValueError):  # what is to be told is told elsewhere
                self.write("\n")

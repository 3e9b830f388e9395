"""An answer on standard output, as it comes.

On a screen it is broken between words, and what the model thinks before it answers is dimmed.
"""

import contextlib
import sys

from pi_cluster.cluster.shown import shown_text
from pi_cluster.deploy.screen.guarded_stream import GuardedStream
from pi_cluster.deploy.screen.terminal import is_screen, screen_columns
from pi_cluster.deploy.screen.wrapping import WordWrap

_DIM, _NOT_DIM = "\x1b[2m", "\x1b[22m"


class ShownAnswer:
    """What is written of an answer, and whether it stands in the middle of a line."""

    def __init__(self) -> None:
        self.is_open = False
        self._is_dim = False
        self._wrap = WordWrap(screen_columns)

    def write(self, piece: str, *, is_thought: bool = False) -> None:
        """Show a piece; on a screen its last word perhaps with the next one, or a line break."""
        if is_screen(sys.stdout):
            self._dim(is_thought)
        # What a terminal's guard writes out takes room on the line.
        text = self._wrap.push(shown_text(piece)) if is_screen(sys.stdout) else piece
        sys.stdout.write(text)
        sys.stdout.flush()
        if piece:
            self.is_open = not piece.endswith("\n")

    def end_line(self) -> None:
        """Go to the next line, unless it stands at the beginning of one."""
        if self._is_dim:
            with contextlib.suppress(OSError, ValueError):
                self._dim(False)
        if self.is_open:
            self.is_open = False
            with contextlib.suppress(OSError, ValueError):  # what is to be told is told elsewhere
                self.write("\n")

    def _dim(self, is_dim: bool) -> None:
        if is_dim == self._is_dim:
            return
        self._is_dim = is_dim
        sys.stdout.write(self._wrap.end_word())
        # Its guard would make the sequence harmless.
        stream = sys.stdout.terminal if isinstance(sys.stdout, GuardedStream) else sys.stdout
        stream.write(_DIM if is_dim else _NOT_DIM)
        stream.flush()

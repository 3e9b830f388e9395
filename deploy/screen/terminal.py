"""Where a screen is: a terminal that has a width, and not a pipe, a file or a log."""

import shutil
from typing import TextIO

from pi_cluster.cluster import settings


def is_screen(stream: TextIO) -> bool:
    """Whether what is written there is seen on lines that have a width and can be drawn anew."""
    return stream.isatty() and not settings.has_plain_terminal()


def screen_columns() -> int:
    """How many columns the terminal of standard output has now."""
    return shutil.get_terminal_size().columns

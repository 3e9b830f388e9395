"""A screen of any width, whose lines a test reads."""

import io
import re

import pytest

from pi_cluster.deploy.screen.console import HarmlessConsole

_CODES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def a_screen(columns: int, patched: pytest.MonkeyPatch) -> HarmlessConsole:
    """A console that takes itself for a terminal of so many columns."""
    patched.setenv("TERM", "xterm")
    patched.setenv("COLUMNS", str(columns))
    console = HarmlessConsole()
    console.file = _Terminal()
    console.is_interactive = True  # rich looks once, before it has the file
    return console


def lines_of(shown: str) -> list[str]:
    """What stands on the lines of a screen, without colours and cursor movements."""
    return _CODES.sub("", shown).splitlines()

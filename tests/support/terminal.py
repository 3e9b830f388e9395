"""A person's terminal in which a command runs."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from typing import Self

_PATIENCE_S = 30.0
_PRESSES = 10
_LINES = 50


class Terminal:
    """A command with a terminal of its own, from ``with`` to its end, which may be forced."""

    def __init__(
        self, words: Sequence[str], env: Mapping[str, str], columns: int | None = None
    ) -> None:
        """``columns``: its width; without them it has none that programs could ask for."""
        self._ours, theirs = pty.openpty()
        if columns:
            self.resize(columns)
        self.process = subprocess.Popen(
            words, env=env, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
        )
        os.close(theirs)
        self._shown = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)

    def until(self, words: str, within_s: float = _PATIENCE_S) -> str:
        """What is shown up to these words, which are then behind us.

        Raises ``TimeoutError`` when they do not come.
        """
        deadline = time.monotonic() + within_s
        while words not in self._shown:
            left_s = max(0.0, deadline - time.monotonic())
            readable, _, _ = select.select([self._ours], [], [], left_s)
            if not readable:
                raise TimeoutError(f"{words!r} did not come after {self._shown[-2000:]!r}")
            self._shown += os.read(self._ours, 1 << 16).decode(errors="replace")
        before, _, self._shown = self._shown.partition(words)
        return before

    def to_end(self, within_s: float = _PATIENCE_S) -> str:
        """All that is shown until the command has ended. Raises ``TimeoutError`` if it does not."""
        deadline = time.monotonic() + within_s
        while True:
            readable, _, _ = select.select([self._ours], [], [], deadline - time.monotonic())
            if not readable:
                raise TimeoutError(f"it goes on after {self._shown[-2000:]!r}")
            try:
                self._shown += os.read(self._ours, 1 << 16).decode(errors="replace")
            except OSError:  # nobody holds the other end any more
                self.process.wait(max(0.1, deadline - time.monotonic()))
                return self._shown

    def resize(self, columns: int) -> None:
        """Pull its edge."""
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", _LINES, columns, 0, 0))

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._ours, text.encode())

    def press_ctrl_c(self) -> None:
        """Interrupt all that runs in the terminal."""
        os.killpg(self.process.pid, signal.SIGINT)

    def press_ctrl_c_until(self, words: str) -> str:
        """Press it again if need be, as people do.

        Python's readline misses one that comes while it takes in a key, until the next key.
        """
        for _ in range(_PRESSES):
            self.press_ctrl_c()
            try:
                return self.until(words, within_s=2)
            except TimeoutError:
                continue
        raise TimeoutError(f"{words!r} did not come")

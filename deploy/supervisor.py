"""Keeps one worker of ``up --local`` running, as systemd does that of a host. Run as a script:

    python -I -S supervisor.py DATA_DIR NAME WORD...

starts the worker that the words are the command line of, or takes over the one that runs from
``DATA_DIR`` already, and starts it again at the same address whenever it ends other than by being
told to. After one that ends soon it waits, longer each time. SIGTERM ends both.

It imports nothing of ours and little of Python's: there is one for each worker, so it has to be
small. Who it is stands in ``DATA_DIR/supervisor/lock``, in the form of ``worker/presence.py``.
"""

import fcntl
import os
import signal
import sys
import time
from types import FrameType
from typing import NoReturn

FOLDER = "supervisor"

_LOCK = "lock"
_MAX_LINE = 500
_WORDS_OF_A_READY_ONE = 3  # its process, its address, its node
_STEADY_S = 10.0  # whoever lived as long did not end at once
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 60.0
_TOLD_TO_LEAVE = (0, -signal.SIGTERM, -signal.SIGINT)
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Supervisor:
    """Whoever starts one worker again; ``_child`` is 0 while that is not ours or does not run."""

    def __init__(self, data_dir: str, name: str, words: list[str]) -> None:
        self._lock = os.path.join(data_dir, _LOCK)
        self._name = name
        self._words = words
        self._child = 0
        self._quick_ends = 0

    def run(self) -> int:
        """Watch until the worker leaves, or could not be started in the first place."""
        began_s = time.monotonic()
        if self._is_running():
            _have_nobody_read()  # `up` is gone, and a worker would end with "broken pipe"
            how = self._await_other()
        else:
            code, was_ready = self._run_child()
            if not was_ready:
                return abs(code)  # `up` waits to hear that it is ready, and tells of it
            how = _ending(code)
        while how:
            self._pause(time.monotonic() - began_s, how)
            began_s = time.monotonic()
            code, _ = self._run_child()
            how = _ending(code)
        return 0

    def stop(self) -> None:
        """Tell a child to leave; `down` waits for it, as it does for a worker that is not ours."""
        if self._child:
            os.kill(self._child, signal.SIGTERM)

    def _run_child(self) -> tuple[int, bool]:
        """Run the worker to its end; returns its exit code or minus a signal, and if it was ready.

        The next one listens where this one did.
        """
        # A signal between its start and our knowing of it would leave it behind.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        self._child = os.posix_spawn(self._words[0], self._words, os.environ, setsigmask=())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        # Whoever reads our output reads the worker's, and sees its end.
        _have_nobody_read()
        # Not reaped before it is no longer ours: until then its id is nobody else's.
        os.waitid(os.P_PID, self._child, os.WEXITED | os.WNOWAIT)
        child, self._child = self._child, 0
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        told = self._told()
        was_ready = len(told) == _WORDS_OF_A_READY_ONE and told[0] == str(child)
        if was_ready:
            self._listen_at(told[1])
        return code, was_ready

    def _is_running(self) -> bool:
        try:
            with open(self._lock, "rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def _await_other(self) -> str:
        """Wait for the end of a worker that is not our child; says how it ended, "" if told to."""
        told = self._told()
        if len(told) == _WORDS_OF_A_READY_ONE:
            self._listen_at(told[1])
        with open(self._lock, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            return "it was killed" if file.read(1) else ""  # who leaves clears what it wrote

    def _told(self) -> list[str]:
        """What the last worker wrote of itself: process, address and node once it was ready."""
        try:
            with open(self._lock, "rb") as file:
                return file.read(_MAX_LINE).decode("ascii", "replace").split()
        except FileNotFoundError:
            return []

    def _listen_at(self, address: str) -> None:
        self._words[self._words.index("--listen") + 1] = address

    def _pause(self, lived_s: float, how: str) -> None:
        """Say what happened, and wait before the next start if it happens again and again."""
        self._quick_ends = 0 if lived_s >= _STEADY_S else self._quick_ends + 1
        pause_s = 0.0
        if self._quick_ends > 1:
            pause_s = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** min(10, self._quick_ends - 2))
        when = f"in {pause_s:g} s" if pause_s else "now"
        written = time.strftime("%Y-%m-%d %H:%M:%S")
        said = f"{written} WARNING supervisor: {self._name} ended after {lived_s:.1f} s ({how})"
        _tell(f"{said}; starting it again {when}\n")
        time.sleep(pause_s)


def main() -> int:
    """Supervise, as soon as nobody else does."""
    data_dir, name, *words = sys.argv[1:]
    folder = os.path.join(data_dir, FOLDER)
    os.makedirs(folder, exist_ok=True)
    supervisor = Supervisor(data_dir, name, words)
    with open(os.path.join(folder, _LOCK), "a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # another one's look holds it for a moment
        for number in _SIGNALS:
            signal.signal(number, _leave)
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        try:
            return supervisor.run()
        except KeyboardInterrupt:
            supervisor.stop()
            return 0


def _have_nobody_read() -> None:
    """Write to nowhere from now on, and so does whoever we start."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def _tell(line: str) -> None:
    """Log it. A full disk is no reason to start nothing any more."""
    try:  # noqa: SIM105 - what `suppress` imports would cost memory
        os.write(2, line.encode("utf-8", "backslashreplace"))
    except OSError:
        pass


def _ending(code: int) -> str:
    """How a worker ended, in words; "" of one that was told to leave."""
    if code in _TOLD_TO_LEAVE:
        return ""
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _leave(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())

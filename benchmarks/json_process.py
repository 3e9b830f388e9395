"""A process that does one piece of work for each line of JSON that it reads, and says what came.

Whoever compares processes on the same cores asks one after the other: those that wait compute
nothing. Needs the standard library alone, since a peer's Python may have nothing of this project.
"""

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parents[1]

Popen = Callable[..., "subprocess.Popen[Any]"]
"""``subprocess.Popen``, or what starts a process elsewhere with the same options."""


class ProcessEnded(Exception):
    """It ended instead of answering; the message has its last words."""


class JsonProcess:
    """Sends one request at a time and waits for its answer, from ``with`` to its end."""

    def __init__(self, command: list[str], log: Path, popen: Popen = subprocess.Popen) -> None:
        self._log = log
        pipe = subprocess.PIPE
        with log.open("wb") as errors:
            self._process = popen(
                command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=errors, text=True
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self._process.terminate()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        self._process.wait()

    def ask(self, do: str, **values: object) -> dict[str, Any]:
        """What it answers. Raises ``ProcessEnded``."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **values}) + "\n")
            self._process.stdin.flush()
            answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        except (BrokenPipeError, json.JSONDecodeError):
            last = self._log.read_text(errors="replace").strip().splitlines()[-3:]
            raise ProcessEnded(" / ".join(last)) from None
        return answer


def serve(work: object) -> None:
    """Answer each line of standard input by the method that it names, until the input ends."""
    for line in sys.stdin:
        request = json.loads(line)
        do: Callable[..., dict[str, Any]] = getattr(work, request.pop("do"))
        print(json.dumps(do(**request)), flush=True)

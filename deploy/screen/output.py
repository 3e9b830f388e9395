"""What people see: tables, bars and notes on standard error; answers go to standard output."""

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from pi_cluster.cluster.shown import shown_line
from pi_cluster.cluster.wire.peer import Peer
from pi_cluster.deploy.screen.console import HarmlessConsole
from pi_cluster.deploy.screen.progress_lines import FittedProgress, TaskName
from pi_cluster.deploy.screen.shown_answer import ShownAnswer


class _Notes(HarmlessConsole):
    """Standard error. A note begins on its own line where both share a terminal."""

    def print(self, *objects: Any, **options: Any) -> None:
        if self.is_terminal and sys.stdout.isatty():
            _answer.end_line()
        super().print(*objects, **options)


_answer = ShownAnswer()
notes = _Notes(stderr=True)
answers = HarmlessConsole()

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 and the signal's number, as shells have it."""


def stream(piece: str, is_thought: bool = False) -> None:
    """Show a piece of an answer at once, or of what the model thinks before."""
    _answer.write(piece, is_thought=is_thought)


def end_line() -> None:
    """End the line of an answer that breaks off, so that an error begins on its own."""
    _answer.end_line()


def warn(warnings: Iterable[str]) -> None:
    """Show warnings, a line each."""
    for warning in warnings:
        warn_of(warning)


def warn_of(warning: str) -> None:
    """Show a warning."""
    notes.print(f"warning: {warning}", markup=False, soft_wrap=True)


def notice(sentence: str) -> None:
    """Show something of what goes on meanwhile; nodes have their part in the words."""
    notes.print(shown_line(sentence), markup=False, soft_wrap=True)


def note(sentence: str) -> None:
    """Show a sentence that is worth knowing and no warning."""
    notes.print(f"note: {sentence}", markup=False, soft_wrap=True)


@contextmanager
def measuring(nodes: int) -> Iterator[None]:
    """While nodes are measured, so many of them for the first time."""
    if nodes:
        notes.print(f"measuring {count(nodes, 'node')}, once")
    with notes.status("measuring"):
        yield


def warn_loudly(warning: str) -> None:
    """Show a warning that nobody may overlook."""
    notes.print(warning, style="bold red", soft_wrap=True)


def size(count: int) -> str:
    """Bytes as people read them."""
    value, units = float(count), ["B", "KiB", "MiB", "GiB", "TiB"]
    while value >= 1024 and len(units) > 1:
        value, units = value / 1024, units[1:]
    return f"{value:.0f} {units[0]}" if units[0] == "B" else f"{value:.1f} {units[0]}"


def ago(seconds: float) -> str:
    """How long ago something was, as people say it."""
    for length, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= length:
            return f"{count(int(seconds // length), unit)} ago"
    return "just now"


def count(number: int, thing: str) -> str:
    """``1 stage``, ``2 stages``."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


class TransferBars:
    """A bar for each node that receives shards, with rate and remaining time.

    It starts where an earlier transfer broke off. Where there is no terminal for bars, a node gets
    a line when it begins and another when it has everything.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._began: dict[Peer, tuple[TaskID, float, int]] = {}
        self._lock = threading.Lock()

    def begin(self, node: Peer, received_bytes: int, total_bytes: int) -> None:
        """A node lacks something of its shards; of those it has this much already."""
        with self._lock:
            task = self._progress.add_task(
                node.name or node.address, total=total_bytes, completed=received_bytes
            )
            self._began[node] = task, time.monotonic(), total_bytes - received_bytes
        there = f", {size(received_bytes)} of them are there already" if received_bytes else ""
        self._say(f"{node.label}: lacks shards of {size(total_bytes)}{there}")

    def update(self, node: Peer, received_bytes: int) -> None:
        """So much of them has come."""
        with self._lock:
            self._progress.update(self._began[node][0], completed=received_bytes)

    def end(self, node: Peer) -> None:
        """It has all of them."""
        _, began, received_bytes = self._began[node]
        seconds = time.monotonic() - began
        rate = size(int(received_bytes / max(seconds, 1e-3)))
        self._say(f"{node.label}: received {size(received_bytes)} in {seconds:.1f} s, {rate}/s")

    def _say(self, line: str) -> None:
        if not notes.is_screen:
            notes.print(line, markup=False, soft_wrap=True)


class FileBar:
    """One bar for a job over files."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=None)

    def __call__(self, done_bytes: int, total_bytes: int, file_name: str) -> None:
        self._progress.update(
            self._task, completed=done_bytes, total=total_bytes, description=file_name
        )


@contextmanager
def counting(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar for so many things, gone when the block ends; it is told how many are done."""
    with FittedProgress(
        TaskName(),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=notes,
        transient=True,
        disable=not notes.is_screen,
    ) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done: progress.update(task, completed=done)


@contextmanager
def bars() -> Iterator[Progress]:
    """Progress bars for bytes, gone when the block ends."""
    with FittedProgress(
        TaskName(),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=notes,
        transient=True,
        disable=not notes.is_screen,
    ) as progress:
        yield progress

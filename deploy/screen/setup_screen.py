"""A line for each host that is being set up: what it does now, and how its wheels travel."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TransferSpeedColumn,
)
from rich.table import Column
from rich.text import Text

from pi_cluster.deploy.screen.output import notes
from pi_cluster.deploy.screen.progress_lines import FittedProgress, TaskName


class SetupLines:
    """Told from several threads how hosts proceed. Without a terminal each step is a line."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._lock = threading.Lock()
        self._tasks: dict[str, TaskID] = {}

    def step(self, label: str, step: str, total_bytes: int | None = None) -> None:
        """A host begins with something, in which so many bytes travel."""
        with self._lock:
            if label not in self._tasks:
                self._tasks[label] = self._progress.add_task(label, step="", sends=False)
            # To rich, a total of None leaves the one before.
            sends = total_bytes is not None
            self._progress.reset(self._tasks[label], total=total_bytes, step=step, sends=sends)
        if not notes.is_screen:
            notes.print(f"{label}: {step}", markup=False, soft_wrap=True)

    def sent(self, label: str, count: int) -> None:
        """So many more bytes have gone to it."""
        with self._lock:
            self._progress.advance(self._tasks[label], count)


@contextmanager
def setup_lines() -> Iterator[SetupLines]:
    """Live lines, gone when the block ends."""
    with FittedProgress(
        SpinnerColumn(),
        TaskName(),
        TextColumn("{task.fields[step]}", markup=False, table_column=Column(min_width=24)),
        WhileSending(BarColumn(bar_width=24)),
        WhileSending(DownloadColumn()),
        WhileSending(TransferSpeedColumn()),
        console=notes,
        transient=True,
        disable=not notes.is_screen,
    ) as progress:
        yield SetupLines(progress)


class WhileSending(ProgressColumn):
    """A column of a step in which bytes travel, empty in others."""

    def __init__(self, column: ProgressColumn) -> None:
        super().__init__()
        self._column = column

    def render(self, task: Task) -> object:  # type: ignore[override]
        """The column's own, or nothing."""
        return self._column.render(task) if task.fields["sends"] else Text("")

"""Progress as a line for each task, of which no figure is cut, however narrow the screen is.

Bars give way first, then names. Where the figures still have no room beside the name, they stand
below it.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import cast

from rich.console import ConsoleOptions, RenderableType, RenderResult
from rich.progress import Progress, ProgressColumn, Task
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pi_cluster.cluster.shown import shown_line
from pi_cluster.deploy.screen.column_widths import LEAST_NAME, abridged

_SHORT_BAR, _SHORT_NAME = 8, 20

Cell = Text | ProgressBar
"""What the columns of a task give."""


class TaskName(ProgressColumn):
    """What a task is called; it may lose its middle."""

    def render(self, task: Task) -> Text:
        """Its description, as it stands."""
        return Text(shown_line(task.description))


class FittedProgress(Progress):
    """Rich's progress display, laid out anew for the width that there is."""

    def get_renderables(self) -> Iterable[RenderableType]:
        """The lines of the tasks that are to be seen."""
        tasks = [task for task in self.tasks if task.visible]
        columns = [column for column in self.columns if isinstance(column, ProgressColumn)]
        rows = [[cast(Cell, column(task)) for column in columns] for task in tasks]
        yield _TaskLines(columns, rows)


class _TaskLines:
    """Cells of all tasks, each below the same of another task."""

    def __init__(self, columns: Sequence[ProgressColumn], rows: Sequence[Sequence[Cell]]) -> None:
        self._rows = rows
        self._least_widths = [column.get_table_column().min_width or 0 for column in columns]
        self._names = [i for i, column in enumerate(columns) if isinstance(column, TaskName)]
        self._bars = [
            index
            for index in range(len(columns))
            if any(isinstance(row[index], ProgressBar) for row in rows)
        ]

    def __rich_console__(self, console: object, options: ConsoleOptions) -> RenderResult:
        """A table without a frame, or else each task over several lines."""
        if widths := self._widths(options.max_width):
            yield self._table(widths)
        else:
            for row in self._rows:
                yield from self._lines(row, options.max_width)

    def _widths(self, screen: int) -> list[int] | None:
        """One for each column, 0 for a bar that has no room; None when the figures have none."""
        wanted = [
            max((_width(row[index]) for row in self._rows), default=0)
            for index in range(len(self._least_widths))
        ]
        widths = list(map(max, wanted, self._least_widths))
        spare = screen - sum(widths) - (len(widths) - 1)
        for giving, least in (
            (range(len(widths)), wanted),
            (self._bars, [_SHORT_BAR] * len(widths)),
            (self._names, [_SHORT_NAME] * len(widths)),
            (self._bars, [0] * len(widths)),
            (self._names, [LEAST_NAME] * len(widths)),
        ):
            for index in giving:
                given = min(max(0, -spare), max(0, widths[index] - least[index]))
                widths[index] -= given
                spare += given
        return widths if spare >= 0 else None

    def _table(self, widths: Sequence[int]) -> Table:
        table = Table.grid(padding=(0, 1))
        shown = [index for index, width in enumerate(widths) if width]
        for index in shown:
            table.add_column(width=widths[index], no_wrap=True)
        for row in self._rows:
            table.add_row(*(self._cell(row, index, widths[index]) for index in shown))
        return table

    def _cell(self, row: Sequence[Cell], index: int, width: int) -> Cell:
        cell = row[index]
        return _cut(cell, width) if index in self._names and isinstance(cell, Text) else cell

    def _lines(self, row: Sequence[Cell], width: int) -> Iterator[Text]:
        """The texts among the cells, as many on a line as it has room for."""
        line = Text()
        for index, cell in enumerate(row):
            if not isinstance(cell, Text) or not cell.plain:
                continue
            shown = _cut(cell, width) if index in self._names else cell
            if line.plain and line.cell_len + 1 + shown.cell_len > width:
                yield line
                line = Text("  " if 2 + shown.cell_len <= width else "")
            elif line.plain:
                line.append(" ")
            line.append_text(shown)
        if line.plain:
            yield line


def _width(cell: Cell) -> int:
    return cell.cell_len if isinstance(cell, Text) else cell.width or 0


def _cut(name: Text, width: int) -> Text:
    return Text(abridged(name.plain, width), name.style)

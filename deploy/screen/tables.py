"""Tables of which no figure is cut, however narrow the screen is.

Headings break between words first, then long names lose their middle and sentences go on below;
then columns in which nothing stands are left out. Where even that is too wide, each row becomes
some lines, ``name: value``. Without a screen (a pipe, a log) there is no width to obey, and all of
it stands there as it is.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from rich.cells import cell_len
from rich.console import ConsoleOptions, JustifyMethod, RenderResult
from rich.table import Table
from rich.text import Text

from pi_cluster.cluster.shown import shown_line
from pi_cluster.deploy.screen.column_widths import (
    LEAST_NAME,
    Column,
    Kind,
    Rows,
    abridged,
    column_widths,
)
from pi_cluster.deploy.screen.wrapping import wrapped


def names(heading: str) -> Column:
    """A column of what people and machines are called."""
    return Column(heading, Kind.NAME)


def numbers(heading: str) -> Column:
    """A column of figures to compare."""
    return Column(heading, Kind.FIGURE, is_number=True)


def whole(heading: str) -> Column:
    """A column of short words, ids and dates, which mean nothing when they are cut."""
    return Column(heading, Kind.FIGURE)


def words(heading: str) -> Column:
    """A column of sentences."""
    return Column(heading, Kind.WORDS)


class FittedTable:
    """Rows that are laid out when the width is known; rich prints it.

    Cells are shown as they stand: a node may call itself what it likes. No line is wider than the
    screen; a figure is broken only where it alone is wider.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        rows: Rows,
        title: str = "",
        caption: Sequence[str] = (),
        as_lines: bool = False,
    ) -> None:
        """``caption``: lines that stand below. ``as_lines``: never draw it as a table."""
        self._columns = [replace(one, heading=shown_line(one.heading)) for one in columns]
        self._rows = [[shown_line(cell) for cell in row] for row in rows]
        self._title = shown_line(title)
        self._caption = [shown_line(line) for line in caption]
        self._as_lines = as_lines

    def __rich_console__(self, console: object, options: ConsoleOptions) -> RenderResult:
        """Title, table or lines, and caption, for the width that there is."""
        width = options.max_width
        if self._title:
            yield Text("\n".join(wrapped(self._title, width)), "table.title")
        if table := self._drawn(width):
            yield table
        else:
            for row in self._rows:
                yield from self._lines(row, width)
        for line in self._caption:
            yield Text("\n".join(wrapped(line, width)), "table.caption")

    def _drawn(self, width: int) -> Table | None:
        """The table, without what is empty where there is no room for it; None if it is wider."""
        if self._as_lines:
            return None
        filled = [i for i in range(len(self._columns)) if any(row[i] for row in self._rows)]
        for shown in (range(len(self._columns)), filled):
            columns = [self._columns[index] for index in shown]
            rows = [[row[index] for index in shown] for row in self._rows]
            if widths := column_widths(columns, rows, width):
                return _table(columns, rows, widths)
        return None

    def _lines(self, row: Sequence[str], width: int) -> Iterator[Text]:
        for index, (column, cell) in enumerate(zip(self._columns, row, strict=True)):
            if index == 0:
                yield Text("\n".join(wrapped(cell, width)))
            elif cell:
                yield Text("\n".join(_entry(column, cell, width)))


def _table(columns: Sequence[Column], rows: Rows, widths: Sequence[int]) -> Table:
    table = Table()
    for column, width in zip(columns, widths, strict=True):
        heading = " ".join(abridged(word, width) for word in column.heading.split(" "))
        side: JustifyMethod = "right" if column.is_number else "left"
        table.add_column(Text(heading), width=width, justify=side)
    for row in rows:
        table.add_row(*map(_cell, columns, row, widths))
    return table


def _cell(column: Column, text: str, width: int) -> Text:
    if column.kind is Kind.WORDS:
        return Text(text, overflow="fold")
    return Text(abridged(text, width) if column.kind is Kind.NAME else text, no_wrap=True)


def _entry(column: Column, value: str, width: int) -> list[str]:
    """``heading: value``, or the value below its heading, further left if it is whole there."""
    head = f"  {column.heading}: "
    if cell_len(head + value) <= width:
        return [head + value]
    indent = 0 if width < 2 * LEAST_NAME else 4
    if column.kind is Kind.FIGURE and cell_len(value) <= width:
        indent = min(indent, width - cell_len(value))
    below = wrapped(value, width - indent)
    return [*wrapped(head.rstrip(), width), *(" " * indent + line for line in below)]

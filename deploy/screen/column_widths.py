"""How wide each column of a table becomes, and what happens to a name that is wider."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

from rich.cells import cell_len, chop_cells

LEAST_NAME = 8  # of a name that is cut any shorter, nobody would know whose it is
_FRAME = 3  # columns of the screen beside each cell, and one at the end


class Kind(Enum):
    """What may be done to a cell so that it fits."""

    NAME = auto()
    """It may lose its middle."""
    FIGURE = auto()
    """Nothing: it stays whole, on one line."""
    WORDS = auto()
    """It may go on below, between its words."""


@dataclass(frozen=True, slots=True)
class Column:
    """A heading, and what the cells below it are."""

    heading: str
    kind: Kind
    is_number: bool = False
    """Whether its cells stand at the right."""


Rows = Sequence[Sequence[str]]


def column_widths(columns: Sequence[Column], rows: Rows, screen: int) -> list[int] | None:
    """A width for each column, in cells of the screen; None when the table cannot be drawn.

    Headings of figures give way first, then names and words, the widest before the others. Two
    names never become the same.
    """
    room = screen - _FRAME * len(columns) - 1
    cells = [[row[index] for row in rows] for index in range(len(columns))]
    widths = list(map(_natural, columns, cells))
    least = list(map(_least, columns, cells))
    figures = [i for i, column in enumerate(columns) if column.kind is Kind.FIGURE]
    others = [i for i, column in enumerate(columns) if column.kind is not Kind.FIGURE]
    for giving in (figures, others):
        while sum(widths) > room:
            wider = [index for index in giving if widths[index] > least[index]]
            if not wider:
                break
            widths[max(wider, key=widths.__getitem__)] -= 1
    if sum(widths) > room:
        return None
    for column, texts, width in zip(columns, cells, widths, strict=True):
        if column.kind is Kind.NAME and not _are_told_apart(texts, width):
            return None
    return widths


def abridged(name: str, width: int) -> str:
    """A name without its middle, so that it takes at most ``width`` columns of the screen."""
    if cell_len(name) <= width:
        return name
    tail_width = max(0, width - 1) // 2
    head = chop_cells(name, width - 1 - tail_width)[0] if width > 1 else ""
    starts = range(len(name) - tail_width, len(name) + 1)
    tail = next(name[at:] for at in starts if cell_len(name[at:]) <= tail_width)
    while tail and not cell_len(tail[0]):  # marks of a letter that is gone
        tail = tail[1:]
    return f"{head}…{tail}"


def _natural(column: Column, texts: Sequence[str]) -> int:
    return _widest([column.heading, *texts])


def _widest(texts: Sequence[str]) -> int:
    return max(map(cell_len, texts), default=0)


def _least(column: Column, texts: Sequence[str]) -> int:
    heading = _widest(column.heading.split())
    match column.kind:
        case Kind.FIGURE:
            return max(heading, _widest(texts))
        case Kind.NAME:
            return min(_natural(column, texts), max(heading, LEAST_NAME))
        case Kind.WORDS:
            # Its heading may be a name.
            longest = _widest([word for text in texts for word in text.split()])
            return max(1, longest, min(heading, LEAST_NAME))


def _are_told_apart(names: Sequence[str], width: int) -> bool:
    known = set(names)
    return len({abridged(name, width) for name in known}) == len(known)

"""Tables and progress at every width: no figure is cut, names give way, and no line is too wide."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.progress import BarColumn, DownloadColumn, TransferSpeedColumn

from pi_cluster.cluster.shown import shown_line
from pi_cluster.deploy.screen.column_widths import abridged
from pi_cluster.deploy.screen.console import HarmlessConsole
from pi_cluster.deploy.screen.progress_lines import FittedProgress, TaskName
from pi_cluster.deploy.screen.setup_screen import setup_lines
from pi_cluster.deploy.screen.tables import FittedTable, names, numbers, whole, words
from tests.support.screens import a_screen, lines_of

LONG = "raspberrypi-in-the-cellar-beside-the-washing-machine-number-{:04}"
NODES = [LONG.format(number) for number in range(8)]
COLUMNS = [names("node"), numbers("layers"), numbers("memory"), words("state"), whole("id")]
ROWS = [
    (name, f"{4 * i}:{4 * i + 4}", f"{i}.4 MiB of 3.6 GiB", "ready", f"{i:04x}")
    for i, name in enumerate(NODES)
]
FIGURES = [cell for row in ROWS for cell in (row[1], row[2], row[4])]


def shown(table, width, patched):
    console = a_screen(width, patched)
    console.print(table)
    return lines_of(console.file.getvalue())


@pytest.mark.parametrize("width", [200, 80, 60, 40, 24])
def test_figures_are_whole_at_every_width_and_an_ellipsis_stands_in_names_alone(width, monkeypatch):
    lines = shown(FittedTable(COLUMNS, ROWS), width, monkeypatch)
    text = "\n".join(lines)
    assert all(figure in text for figure in FIGURES)
    assert max(map(cell_len, lines)) <= width
    for cut in (word for line in lines for word in line.split() if "…" in word):
        head, tail = cut.split("…")
        assert any(name.startswith(head) and name.endswith(tail) for name in NODES)


def test_at_80_columns_it_is_a_table_whose_names_differ_and_at_40_each_row_is_a_block(monkeypatch):
    table = FittedTable(COLUMNS, ROWS)
    at_80 = shown(table, 80, monkeypatch)
    assert len(at_80) == len(ROWS) + 4 and len(set(at_80[3:-1])) == len(ROWS)
    at_40 = shown(FittedTable(COLUMNS, [("pi1", *ROWS[0][1:])]), 40, monkeypatch)
    assert at_40 == [
        *("pi1", "  layers: 0:4", "  memory: 0.4 MiB of 3.6 GiB", "  state: ready", "  id: 0000")
    ]


def test_names_that_would_become_the_same_are_not_cut(monkeypatch):
    alike = [f"{'a' * 20}{letter}{'b' * 20}" for letter in "xy"]
    lines = shown(
        FittedTable([names("node"), numbers("bytes")], [(name, "12345") for name in alike]),
        30,
        monkeypatch,
    )
    assert "…" not in "".join(lines) and [line for line in lines if line.startswith("a")]
    joined = "".join(lines)
    assert all(name in joined for name in alike)


def test_an_empty_column_is_left_out_before_the_table_is(monkeypatch):
    columns = [names("node"), numbers("memory"), numbers("tokens/s")]
    table = FittedTable(columns, [("pi1", "1.4 GiB of 3.6 GiB", "")])
    assert "tokens/s" in "".join(shown(table, 50, monkeypatch))
    narrow = shown(table, 34, monkeypatch)
    assert len(narrow) == 5 and "tokens/s" not in "".join(narrow)


def test_without_a_screen_nothing_is_cut_or_broken_whatever_columns_says(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    console = HarmlessConsole()
    console.file = io.StringIO()
    console.print(FittedTable(COLUMNS, ROWS, caption=["held by nobody, " * 20]))
    console.print("a sentence " * 40)
    lines = console.file.getvalue().splitlines()
    assert len(lines) == len(ROWS) + 4 + 2
    assert all(any(name in line for line in lines) for name in NODES)
    monkeypatch.setenv("FORCE_COLOR", "1")  # colours are wanted, and there is no width all the same
    coloured = HarmlessConsole()
    coloured.file = io.StringIO()
    coloured.print(FittedTable(COLUMNS, ROWS))
    assert all(name in coloured.file.getvalue() for name in NODES)


def test_a_plain_terminal_has_no_width_either(monkeypatch):
    console = a_screen(40, monkeypatch)
    monkeypatch.setenv("TERM", "dumb")
    plain = HarmlessConsole()
    plain.file = console.file
    plain.print(FittedTable(COLUMNS, ROWS))
    assert all(name in plain.file.getvalue() for name in NODES)


figures = (
    st.text("0123456789.:-\u00b1 GiB/s漢", min_size=1, max_size=12).map(str.strip).filter(bool)
)
others = st.text("abcdefgh -é\u0301漢😀\x1b\n", max_size=70)
kinds = st.lists(st.sampled_from([names, words, numbers, whole]), min_size=1, max_size=8)


@st.composite
def tables(draw):
    kind = draw(kinds)
    columns = [one(draw(st.text("memory used", max_size=14))) for one in kind]
    cells = [figures if one in (numbers, whole) else others for one in kind]
    return columns, draw(st.lists(st.tuples(*cells), min_size=1, max_size=6))


@given(tables(), st.integers(24, 160))
def test_every_figure_of_any_table_is_unbroken_at_any_width(made, width):
    columns, rows = made
    with pytest.MonkeyPatch.context() as patched:
        lines = shown(FittedTable(columns, rows), width, patched)
    assert max(map(cell_len, lines), default=0) <= width
    unseen = ("\n".join(lines)).replace("\u0301", "")
    for row in rows:
        for column, cell in zip(columns, row, strict=True):
            if column in (numbers(column.heading), whole(column.heading)):
                assert cell in unseen


@given(others, st.integers(1, 40))
def test_a_name_that_is_cut_fits_and_keeps_its_ends(text, width):
    name = shown_line(text)
    cut = abridged(name, width)
    assert cell_len(cut) <= width
    if cut != name:
        head, tail = cut.split("…")
        assert name.startswith(head) and name.endswith(tail)


@pytest.mark.parametrize("width", [100, 80, 60, 40, 24])
def test_bars_and_names_give_way_to_the_figures_of_a_transfer(width, monkeypatch):
    console = a_screen(width, monkeypatch)
    progress = FittedProgress(
        TaskName(), BarColumn(), DownloadColumn(), TransferSpeedColumn(), console=console
    )
    for name in NODES:
        progress.add_task(name, total=788_500_000, completed=123_400_000)
    console.print(progress.get_renderable())
    lines = lines_of(console.file.getvalue())
    assert max(map(cell_len, lines)) <= width
    assert "".join(lines).count("123.4/788.5 MB") == len(NODES)
    for line in lines:
        if "…" in line:
            head, tail = line.split()[0].split("…")
            assert any(name.startswith(head) and name.endswith(tail) for name in NODES)


@pytest.mark.parametrize("width", [100, 60, 40])
def test_a_line_of_set_up_has_its_step_and_its_bytes_at_every_width(width, monkeypatch):
    console = a_screen(width, monkeypatch)
    monkeypatch.setattr("pi_cluster.deploy.screen.setup_screen.notes", console)
    with setup_lines() as lines:
        lines.step(NODES[0], "sending the program", 2_000_000)
        lines.sent(NODES[0], 1_000_000)
        console.print("")
    drawn = lines_of(console.file.getvalue())
    assert any("sending the program" in line for line in drawn)
    assert any("1.0/2.0 MB" in line for line in drawn)
    assert max(map(cell_len, drawn)) <= width

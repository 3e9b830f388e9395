"""Every way to a person's terminal, with a text on it that would steer it."""

import os
import re
import subprocess
import sys

import pytest

from tests.support.hostile import HOSTILE, steering
from tests.support.terminal import Terminal

DOORS = {
    "a note": "output.notes.print(hostile)",
    "a note with a style": "output.notes.print(hostile, style='bold red', soft_wrap=True)",
    "an answer": "output.answers.print(hostile, soft_wrap=True)",
    "a warning": "output.warn([hostile])",
    "a cell": "output.answers.print(FittedTable([names('a'), words('b')], [(hostile, hostile)]))",
    "a bare cell, a heading and a title": """
t = Table(title=hostile, caption=hostile)
t.add_column(hostile)
t.add_row(hostile)
t.add_row(Text(hostile))
output.answers.print(t)""",
    "a linked text": "output.answers.print(Text('x', style='link http://evil.example'))",
    "a bar": """
with output.bars() as progress:
    bars = output.TransferBars(progress)
    peer = Peer('127.0.0.1:1', name=hostile)
    bars.begin(peer, 0, 10)
    bars.update(peer, 10)
    bars.end(peer)""",
    "a line of set-up": """
with setup_lines() as lines:
    lines.step(hostile, hostile, 10)""",
    "what moves": """
with output.notes.status(hostile) as status:
    print(hostile)
    sys.stderr.write(hostile + '\\n')""",
    "a live table": """
with Live(console=output.answers, auto_refresh=False) as live:
    live.update(FittedTable([names('a')], [(hostile,)]), refresh=True)""",
    "an answer's text": "output.stream(hostile)",
    "its pieces": "for letter in hostile: output.stream(letter)",
    "a line of click's": "click.echo(hostile); click.echo(hostile, err=True)",
    "an error of click's": "click.UsageError(hostile).show()",
    "print": "print(hostile); print(hostile, file=sys.stderr)",
    "several lines": "sys.stdout.writelines([hostile, hostile])",
    "csv": "csv.writer(sys.stdout).writerow([hostile])",
    "a log": "logging.basicConfig(); logging.warning(hostile)",
    "a traceback": """
try: raise ValueError(hostile)
except ValueError: traceback.print_exc()""",
    "an error that nobody catches": "raise ValueError(hostile)",
}
BEGINNING = f"""
import csv, logging, sys, traceback
import click
from rich.live import Live
from rich.table import Table
from rich.text import Text
from pi_cluster.cluster.wire.peer import Peer
from pi_cluster.deploy.screen import output
from pi_cluster.deploy.screen.guarded_stream import guard_terminals
from pi_cluster.deploy.screen.setup_screen import setup_lines
from pi_cluster.deploy.screen.tables import FittedTable, names, words
guard_terminals()
hostile = {HOSTILE!r}
"""
ENDING = "\nprint('the end', flush=True)\n"


@pytest.mark.parametrize("door", DOORS)
def test_no_way_to_a_terminal_lets_a_text_through_that_steers_it(door):
    env = os.environ | {"TERM": "xterm-256color", "COLUMNS": "400"}
    raising = DOORS[door].startswith("raise")
    source = BEGINNING + DOORS[door] + ("" if raising else ENDING)
    with Terminal([sys.executable, "-c", source], env) as terminal:
        sent = terminal.until(":fire:" if raising else "the end", within_s=60)
    assert steering(sent) == []
    assert r"\u001b]0;owned" in sent or door == "a linked text"


def test_a_pipe_gets_the_bytes_of_an_answer_as_they_are():
    source = BEGINNING + "output.stream(hostile); click.echo(hostile)"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True)
    assert HOSTILE.encode() in done.stdout and done.returncode == 0


def test_a_note_comes_after_all_that_came_of_an_answer():
    env = os.environ | {"TERM": "xterm", "COLUMNS": "20"}
    source = BEGINNING + "output.stream('Once upon a tim'); output.notes.print('(interrupted)')"
    with Terminal([sys.executable, "-c", source], env) as terminal:
        assert terminal.to_end() == "Once upon a tim\r\n(interrupted)\r\n"


def test_letters_that_are_written_out_count_as_many_columns_as_they_take():
    env = os.environ | {"TERM": "xterm", "COLUMNS": "30"}
    source = BEGINNING + "output.stream('\\x1b\\x07 ' * 9 + '\\n')"
    with Terminal([sys.executable, "-c", source], env) as terminal:
        lines = terminal.to_end().splitlines()
    assert [line.rstrip() for line in lines] == [
        *[r"\u001b\u0007 \u001b\u0007"] * 4,
        r"\u001b\u0007",
    ]


def test_what_is_made_for_people_is_harmless_in_a_pipe_too():
    source = BEGINNING + DOORS["a note"] + "\n" + DOORS["a cell"]
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True)
    assert steering(done.stdout + done.stderr) == []
    assert r"\u001b]0;owned" in done.stdout and r"\u001b]0;owned" in done.stderr


def test_markup_and_names_of_emoji_stay_as_a_node_wrote_them():
    source = BEGINNING + "output.notes.print('[bold]pi[/bold] :fire:')"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True)
    assert done.stderr == "[bold]pi[/bold] :fire:\n"


def test_a_stream_that_is_closed_is_nobodys_terminal():
    source = BEGINNING.replace("import csv", "import sys; sys.stdout = None\nimport csv")
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not re.search("Traceback", done.stderr)

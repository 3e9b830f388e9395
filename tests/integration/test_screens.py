"""What commands show on screens of several widths, and in a pipe."""

import itertools
import re
import subprocess

import pytest
from rich.cells import cell_len

from tests.support.screens import lines_of
from tests.support.terminal import Terminal

WIDTHS = (80, 60, 40)
ASKED = "Tell me a story about a brave fox and a lost kite."
STORY = ("prompt", ASKED, "--temperature", "0", "--max-tokens", "150")
FIGURE = re.compile(r"\d+(?:\.\d+)? (?:[KMG]iB|B)\b|\d+:\d+|\d+\.\d+")


def on_a_screen(cluster, term="xterm"):
    """Its environment, which leaves the width to the terminal."""
    kept = {k: v for k, v in cluster.env.items() if k not in ("COLUMNS", "LINES", "NO_COLOR")}
    return kept | {"TERM": term}


@pytest.fixture
def screen_of(story):
    """Opens terminals of the shared cluster, and gives what a command showed there to its end."""

    def shown(words, columns, term="xterm"):
        with Terminal(words, on_a_screen(story, term), columns) as terminal:
            return terminal.to_end()

    return shown


def named_in_full(story, names):
    """Addresses of workers with names as long as names may be."""
    started = [story.start_worker(name) for name in names]
    return ",".join(address for _, address in started)


def check_lines(lines, columns):
    for line in lines:
        assert cell_len(line) <= columns, line
        for before, after in itertools.pairwise(re.split("…", line)):
            assert not re.search(r"\d\.?$", before) and not re.match(r"[KMG]iB", after), line


@pytest.mark.parametrize("columns", WIDTHS)
def test_figures_of_long_named_nodes_are_whole_on_every_screen(cluster, columns):
    names = [f"raspberrypi-in-the-cellar-beside-the-washing-machine-{n:011}" for n in range(2)]
    nodes = named_in_full(cluster, names)
    for words in (("up", "--nodes", nodes), ("plan", "--nodes", nodes), ("status",)):
        with Terminal(cluster.words(*words), on_a_screen(cluster), columns) as terminal:
            shown = terminal.to_end()
            assert terminal.process.returncode == 0, shown
        table = [line for line in lines_of(shown) if re.search("│|  [a-z/° ]+: ", line)]
        check_lines(table, columns)
        piped = cluster.run(*words)
        text = piped.err if words[0] == "up" else piped.out
        assert "…" not in text and all(name in text for name in names)
        rows = [line for line in text.splitlines() if "raspberrypi" in line and "│" in line]
        stable = FIGURE.findall(rows[0].split("│")[3]) if words[0] != "status" else []
        assert all(figure in "\n".join(table) for figure in stable)


@pytest.mark.parametrize("columns", WIDTHS)
def test_an_answer_is_broken_between_words_on_a_screen_and_not_in_a_pipe(story, screen_of, columns):
    piped = story.run(*STORY).out
    assert max(map(len, piped.splitlines())) > 80
    shown = screen_of(story.words(*STORY), columns)
    lines = shown.replace("\r\n", "\n").removesuffix("\n").split("\n")
    assert all(len(line) <= columns for line in lines)
    assert " ".join(lines) == " ".join(piped.split("\n")).rstrip()


def test_a_file_and_a_plain_terminal_get_an_answer_as_it_is(story, screen_of, tmp_path):
    text = story.prompt(*STORY[1:])["text"]
    with (tmp_path / "answer").open("wb") as file:
        subprocess.run(story.words(*STORY, "--raw"), env=story.env, stdout=file, check=True)
    raw = story.prompt(*STORY[1:], "--raw")["text"]
    assert (tmp_path / "answer").read_bytes() == f"{raw}\n".encode()
    assert screen_of(story.words(*STORY), 40, term="dumb") == f"{text}\n".replace("\n", "\r\n")


def test_a_chat_goes_on_with_the_width_that_its_terminal_has_by_then(story):
    words = story.words("chat", "--temperature", "0", "--max-tokens", "60")
    with Terminal(words, on_a_screen(story), 80) as chat:
        for columns in (80, 40, 60):
            chat.until(">>> ")
            chat.resize(columns)
            chat.type(f"{ASKED}\r")
            chat.until("kite.\r\n")
            answer = chat.until("\r\n>>> ")
            lines = lines_of(answer)
            assert all(len(line) <= columns for line in lines), lines
            assert len(lines) > 1 and max(map(len, lines)) > columns - 20
            chat.type("/reset\r")
            chat.until("forgotten")

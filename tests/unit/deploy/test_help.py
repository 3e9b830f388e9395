"""The help of every command, on the 80 columns that a terminal has."""

import inspect
import re

import click
import pytest
from rich.cells import cell_len

from pi_cluster.deploy.cli import cli

COLUMNS = 80


def all_commands(command, context):
    """Every command with the context that its help is made in."""
    yield command, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            yield from all_commands(below, click.Context(below, info_name=name, parent=context))


COMMANDS = list(all_commands(cli, click.Context(cli, info_name="pi-cluster")))


@pytest.fixture(params=COMMANDS, ids=lambda one: one[1].command_path)
def described(request, monkeypatch):
    """A command and the lines of its help."""
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    command, context = request.param
    return command, command.get_help(context).splitlines()


def test_there_are_commands_within_groups():
    assert {"pi-cluster up", "pi-cluster token create"} <= {one.command_path for _, one in COMMANDS}


def test_no_line_is_wider_than_the_screen(described):
    _, lines = described
    assert [line for line in lines if cell_len(line) > COLUMNS] == []


def test_what_an_option_does_stands_beside_it(described):
    _, lines = described
    options = lines[lines.index("Options:") :]
    alone = [line for line in options if re.match(r"  -\S", line) and "  " not in line.strip()]
    assert alone == []


def test_the_sentence_about_each_command_of_a_group_is_whole(described):
    command, lines = described
    if isinstance(command, click.Group):
        assert [line for line in lines if line.endswith("...") and "Usage" not in line] == []


def test_no_command_that_a_help_names_is_broken_within_a_word(described):
    command, lines = described
    shown = re.sub(r"\s+", " ", " ".join(lines))
    texts = [command.help, *(getattr(one, "help", None) for one in command.params)]
    named = [name for text in texts if text for name in re.findall("`[^`]+`", text)]
    assert [name for name in named if re.sub(r"\s+", " ", name) not in shown] == []


def test_lines_that_are_set_as_they_are_stay_so(described):
    command, lines = described
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        if paragraph.startswith("\b\n"):
            assert all(f"  {line}" in lines for line in paragraph.splitlines()[1:])

"""Every command that a message or a document advises is one that the program has."""

import ast
import re
import shlex
from collections.abc import Iterator

import click
import pytest

from pi_cluster.cluster.advice import command, line
from pi_cluster.deploy.cli import cli
from pi_cluster.deploy.lazy_group import LazyGroup
from tests.support.own_sources import INSTALLED, ROOT, tree_of

DOCUMENTS = ["README.md", "ARCHITECTURE.md", *(f"docs/{p.name}" for p in ROOT.glob("docs/*.md"))]
QUOTED = re.compile(r"`(?:sudo |\S*/)?pi-cluster ([^`]+)`")
SHELL_LINE = re.compile(r"^(?:sudo |\S*/)?pi-cluster (.+?)(?: >.*| \|.*)?$", re.MULTILINE)
NO_COMMANDS = ("X", "...")


def texts(tree: ast.Module) -> Iterator[str]:
    """String literals but docstrings; what an f-string puts in becomes an X."""
    skipped = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        for part in node.values
    }
    skipped |= {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield "".join(
                part.value if isinstance(part, ast.Constant) else "X" for part in node.values
            )


def built(tree: ast.Module) -> Iterator[list[str]]:
    """The words of calls that build an advised command, as far as they stand there."""
    builders = {
        name.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module == "pi_cluster.cluster.advice"
        for name in node.names
    }
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
            continue
        if node.func.id not in builders:
            continue
        words = node.args[1:] if node.func.id == "command" else node.args
        if words and isinstance(words[0], ast.Constant):
            yield [
                word.value if isinstance(word, ast.Constant) else "X"
                for word in words
                if not isinstance(word, ast.Starred)
            ]


def documented(text: str) -> Iterator[list[str]]:
    """Commands in shell blocks and between backquotes; redirections are the shell's."""
    blocks = "\n".join(re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    for match in (*QUOTED.finditer(prose), *SHELL_LINE.finditer(blocks)):
        yield shlex.split(match[1].partition(">")[0], comments=True)


def advised() -> Iterator[tuple[str, tuple[str, ...]]]:
    for file in INSTALLED:
        tree = tree_of(file)
        for text in texts(tree):
            for match in QUOTED.finditer(text):
                yield file, tuple(shlex.split(match[1]))
        for words in built(tree):
            yield file, tuple(words)
    for file in DOCUMENTS:
        for words in documented((ROOT / file).read_text()):
            yield file, tuple(words)


ADVISED = sorted(set(advised()))


def test_they_are_found_at_all():
    assert len(ADVISED) > 60
    assert ("coordinator/records/advice.py", ("up", "--local", "3")) in ADVISED


@pytest.mark.parametrize(
    ("file", "words"), ADVISED, ids=[f"{file}: {' '.join(words)}" for file, words in ADVISED]
)
def test_an_advised_command_exists_with_its_options(file, words):
    if words[0] in NO_COMMANDS:
        return
    where = f"{file} advises `pi-cluster {' '.join(words)}`"
    found: click.Command = cli
    rest = ["X" if word == "..." else word for word in words]
    if rest[0].startswith("-"):  # before any command: an option of the whole
        context = click.Context(cli, info_name="pi-cluster")
        assert rest[0] in {name for one in cli.get_params(context) for name in one.opts}, where
        return
    while isinstance(found, click.Group):
        if not rest and isinstance(found, LazyGroup) and found.default:
            rest = [found.default]
        assert rest and rest[0] in found.commands, where
        found = found.commands[rest.pop(0)]
    parser = found.make_parser(click.Context(found, info_name=found.name))
    try:
        _, arguments, _ = parser.parse_args(list(rest))
    except click.BadOptionUsage:
        # Prose may name an option without what it takes; a message may not.
        assert file in DOCUMENTS, where
        _, arguments, _ = parser.parse_args([*rest, "X"])
    taken = [param for param in found.params if isinstance(param, click.Argument)]
    assert len(arguments) <= len(taken), where


def test_a_line_repeats_the_cluster_unless_it_is_the_default_and_is_quoted_for_a_shell():
    assert command("default", "up", "--local", "3") == "pi-cluster up --local 3"
    assert command("kitchen", "up") == "pi-cluster up --cluster kitchen"
    assert shlex.split(command("kitchen", "prompt", "It's me")) == [
        *("pi-cluster", "prompt", "It's me", "--cluster", "kitchen")
    ]
    assert line("up", "a store") == "pi-cluster up 'a store'"

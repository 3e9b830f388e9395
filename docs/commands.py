"""Write `docs/commands.md` from the commands themselves: run by ``make docs``.

Everything is asked of click, as ``--help`` does, so the page says what the program says.
"""

import inspect
import re
import textwrap
from collections.abc import Iterator

import click

from pi_cluster.deploy.cli import cli

_COLUMNS = 100
_NAME = "pi-cluster"
_NO_BREAK = "\N{NO-BREAK SPACE}"

_HEAD = """\
# Commands

`make docs` writes this page from the commands' own help; what is changed here by hand is lost.

Answers go to standard output, everything else to standard error. Every command has `--help`.

| exit code | means |
| --- | --- |
| 0 | it is done |
| 1 | an error, which names the thing and the next step |
| 2 | wrong usage |
| 130 | interrupted by Ctrl-C |

| command | what it does |
| --- | --- |
"""


def page() -> str:
    """The whole document."""
    root = _context(cli, _NAME, None)
    found = list(_commands(root))
    rows = "".join(_row(context) for context in found)
    sections = "\n".join(_section(context) for context in (root, *found))
    return f"{_HEAD}{rows}\n{sections}"


def _context(command: click.Command, name: str, parent: click.Context | None) -> click.Context:
    settings = command.context_settings
    return click.Context(command, info_name=name, parent=parent, **settings)


def _commands(parent: click.Context) -> Iterator[click.Context]:
    """All commands below a group that ``--help`` shows, in its order; groups before their own."""
    group = parent.command
    if not isinstance(group, click.Group):
        return
    for name in group.list_commands(parent):
        command = group.get_command(parent, name)
        if command is None or command.hidden:
            continue
        context = _context(command, name, parent)
        yield context
        yield from _commands(context)


def _row(context: click.Context) -> str:
    path = context.command_path
    return f"| [{path}](#{path.replace(' ', '-')}) | {_in_cell(_first(_text(context.command)))} |\n"


def _section(context: click.Context) -> str:
    command = context.command
    pieces = " ".join(command.collect_usage_pieces(context))
    parts = [
        f"{'#' * (2 + _depth(context))} {context.command_path}",
        f"```\n{_usage(context.command_path, pieces)}\n```",
        *(_wrapped(paragraph) for paragraph in _text(command).split("\n\n") if paragraph),
    ]
    options = [
        (names, text)
        for parameter in command.get_params(context)
        if "--help" not in parameter.opts and isinstance(parameter, click.Option)
        for names, text in filter(None, [parameter.get_help_record(context)])
    ]
    if options:
        rows = "\n".join(f"| `{_in_cell(names)}` | {_in_cell(text)} |" for names, text in options)
        parts.append(f"| option | what it does |\n| --- | --- |\n{rows}")
    return "\n\n".join(parts) + "\n"


def _usage(path: str, pieces: str) -> str:
    indent = " " * (len(path) + 1)
    return textwrap.fill(f"{path} {pieces}", _COLUMNS, subsequent_indent=indent)


def _text(command: click.Command) -> str:
    return inspect.cleandoc(command.help or "")


def _first(text: str) -> str:
    """The first sentence."""
    return " ".join(text.partition("\n\n")[0].split()).partition(". ")[0].removesuffix(".")


def _wrapped(paragraph: str) -> str:
    if paragraph.startswith("\b\n"):  # click's mark of lines that stay as they are
        return f"```\n{paragraph.removeprefix(chr(8)).strip(chr(10))}\n```"
    text = re.sub(r"`[^`]+`", _kept_whole, " ".join(paragraph.split()))
    return textwrap.fill(text, _COLUMNS, break_on_hyphens=False).replace(_NO_BREAK, " ")


def _kept_whole(quoted: re.Match[str]) -> str:
    return quoted[0].replace(" ", _NO_BREAK)


def _in_cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _depth(context: click.Context) -> int:
    """How many groups lie between the program and a command."""
    return max(0, len(context.command_path.split()) - 2)


if __name__ == "__main__":
    print(page(), end="")

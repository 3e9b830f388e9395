"""A group of commands that are imported when they run: `--help` shows what a table says of them."""

import gc
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, cast

import click


@dataclass(frozen=True, slots=True)
class Place:
    """Where a command is, and what it is for."""

    target: str
    """Its module and name there, as entry points have it: ``package.module:name``."""
    summary: str
    """The first sentence of its own help; a test compares them."""

    def find(self) -> click.Command:
        """Import it."""
        module, _, name = self.target.partition(":")
        if module not in sys.modules:
            _import_for_good(module)
        return cast(click.Command, getattr(sys.modules[module], name))


def _import_for_good(module: str) -> None:
    """Import what stays until the program ends, without looking for garbage in it.

    Python would look through all of it again and again while it grows, and once more at the end.
    """
    was_collecting = gc.isenabled()
    gc.disable()
    try:
        import_module(module)
        gc.freeze()
    finally:
        if was_collecting:
            gc.enable()


class LazyGroup(click.Group):
    """A group that knows its commands by their places; groups within it are there as they are.

    What it shows of them costs no import: its help comes at once, however much they need.
    """

    def __init__(
        self,
        name: str,
        places: Mapping[str, "Place | LazyGroup"],
        default: str | None = None,
        **settings: Any,
    ) -> None:
        """``default``: the command that runs where none is named."""
        super().__init__(name, commands=_Found(places), **settings)
        self.places, self.default = places, default

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does it, with the default command put in."""
        if (
            self.default
            and args[:1] not in [[name] for name in ctx.help_option_names]
            and (not args or args[0].startswith("-"))
        ):
            args = [self.default, *args]
        return super().parse_args(ctx, args)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import the command."""
        # Not by `get`, which would take a KeyError while importing for the lack of a command.
        return self.commands[cmd_name] if cmd_name in self.commands else None  # noqa: SIM401

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """As click does it, from the table."""
        names = self.list_commands(ctx)
        limit = formatter.width - 6 - max(map(len, names))  # as much as click leaves for a line
        rows = [(name, self._shown(name).get_short_help_str(limit)) for name in names]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def _shown(self, name: str) -> click.Command:
        place = self.places[name]
        return click.Command(name, help=place.summary) if isinstance(place, Place) else place


class _Found(MutableMapping[str, click.Command]):
    """Commands by name, each imported when it is asked for."""

    def __init__(self, places: Mapping[str, Place | LazyGroup]) -> None:
        self._places = dict[str, Place | click.Command](places)

    def __getitem__(self, name: str) -> click.Command:
        place = self._places[name]
        return place.find() if isinstance(place, Place) else place

    def __setitem__(self, name: str, command: click.Command) -> None:
        self._places[name] = command

    def __delitem__(self, name: str) -> None:
        del self._places[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, name: object) -> bool:
        return name in self._places

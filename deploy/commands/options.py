"""Options that several subcommands share."""

import functools
import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from pi_cluster.cluster import settings
from pi_cluster.coordinator.generation import GenerationOptions
from pi_cluster.coordinator.patience import DEFAULT_WAIT_S
from pi_cluster.transformer.sampling import SamplingSettings

Command = Callable[..., Any]

cluster_option = click.option(
    "--cluster", default=settings.DEFAULT_CLUSTER, show_default=True, help="Name of the cluster."
)

draft_option = click.option(
    "--draft",
    type=click.Choice(["on", "off"]),
    default="on",
    show_default=True,
    help="Guess ahead, which never changes the text.",
)

wait_option = click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(0, 86_400),
    default=DEFAULT_WAIT_S,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait while the pipeline answers another.",
)

nodes_option = click.option(
    "--nodes", metavar="HOST:PORT,...", help="Use these workers instead of mDNS."
)

hosts_option = click.option(
    "--hosts",
    metavar="HOST,...|FILE",
    help="Set hosts up by SSH, as far as they are not, and use their workers: USER@HOST,... or a "
    "FILE.toml of them.",
)

wheels_option = click.option(
    "--wheels",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A folder with the wheels for the hosts, instead of building and downloading them.",
)

sudo_password_option = click.option(
    "--ask-sudo-password", is_flag=True, help="Ask once for the password that sudo wants there."
)

insecure_option = click.option(
    "--insecure", is_flag=True, help="Call nodes on other machines without certificates."
)

context_option = click.option(
    "--context",
    type=click.IntRange(1),
    help="Longest text in tokens, for models without a sliding window.",
)

texts_option = click.option(
    "--texts",
    type=click.IntRange(1, settings.MAX_SEQUENCES),
    default=settings.DEFAULT_TEXTS,
    show_default=True,
    help="Full-length texts that the caches have room for.",
)


def left_out(context: click.Context) -> list[str]:
    """Names of the parameters that were not given."""
    unset = (ParameterSource.DEFAULT, ParameterSource.DEFAULT_MAP)
    return [name for name in context.params if context.get_parameter_source(name) in unset]


def ask_password() -> str:
    """The password for ``--ask-sudo-password``: typed without being shown, or a line of a pipe."""
    if sys.stdin.isatty():
        return str(click.prompt("sudo password of the hosts", hide_input=True, err=True))
    return sys.stdin.readline().removesuffix("\n")


_DEFAULTS = SamplingSettings()

stop_option = click.option(
    "--stop", multiple=True, help="End before this text; may be given several times."
)

_GENERATION = (
    click.option("--max-tokens", type=int, default=512, show_default=True),
    click.option(
        "--temperature",
        type=float,
        default=_DEFAULTS.temperature,
        show_default=True,
        help="0 always takes the likeliest token.",
    ),
    click.option(
        "--top-k", type=int, default=_DEFAULTS.top_k, show_default=True, help="0 turns it off."
    ),
    click.option("--top-p", type=float, default=_DEFAULTS.top_p, show_default=True),
    click.option("--min-p", type=float, default=_DEFAULTS.min_p, show_default=True),
    click.option(
        "--repeat-penalty", type=float, default=_DEFAULTS.repeat_penalty, show_default=True
    ),
    click.option("--seed", type=int, help="The same seed gives the same text.  [default: random]"),
    click.option(
        "--chunk-size",
        type=int,
        help="Prompt tokens in one step.  [default: what suits the pipeline]",
    ),
    draft_option,
)


def generation_options(command: Command) -> Command:
    """Give a command the flags of a generation, and the ``GenerationOptions`` they amount to.

    A setting out of range raises ``SettingsError`` naming it.
    """

    @functools.wraps(command)
    def parsed(
        *,
        max_tokens: int,
        temperature: float,
        top_k: int,
        top_p: float,
        min_p: float,
        repeat_penalty: float,
        seed: int | None,
        chunk_size: int | None,
        draft: str,
        **others: Any,
    ) -> Any:
        drawn = secrets.randbits(32) if seed is None else seed
        sampling = SamplingSettings(temperature, top_k, top_p, min_p, repeat_penalty, drawn)
        asked = GenerationOptions(sampling, max_tokens, chunk_size, draft=draft == "on")
        return command(options=asked, **others)

    for option in reversed(_GENERATION):
        parsed = option(parsed)
    return parsed

"""Options of the subcommands that have the model write."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from pi_cluster.transformer.sampling_settings import SamplingSettings

if TYPE_CHECKING:
    from pi_cluster.coordinator.asking.question import AskKeywords

Command = Callable[..., Any]

draft_option = click.option(
    "--draft",
    type=click.Choice(["on", "off"]),
    default="on",
    show_default=True,
    help="Guess ahead, which never changes the text.",
)

_DEFAULTS = SamplingSettings()

stop_option = click.option(
    "--stop", multiple=True, help="End before this text; may be given several times."
)

think_option = click.option(
    "--think",
    type=click.Choice(["on", "off"]),
    callback=lambda _context, _option, chosen: None if chosen is None else chosen == "on",
    help="Think before answering, where the model can be told.",
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
    """Give a command the flags of a generation, and the ``AskKeywords`` they amount to.

    Whoever is asked checks them.
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
        keywords: AskKeywords = {
            "max_tokens": max_tokens,
            "temperature": temperature,
            "top_k": top_k,
            "top_p": top_p,
            "min_p": min_p,
            "repeat_penalty": repeat_penalty,
            "seed": seed,
            "chunk_size": chunk_size,
            "draft": draft == "on",
        }
        return command(keywords=keywords, **others)

    for option in reversed(_GENERATION):
        parsed = option(parsed)
    return parsed

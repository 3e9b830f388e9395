"""The option that names a draft model, of the commands that remember or use one."""

import click

from pi_cluster.deploy.models.model_source import find_source

NO_MODEL = "none"


def _as_said(_context: click.Context, _option: click.Parameter, given: str | None) -> str | None:
    """What means the same in any folder; ``none`` stays, and None where nothing was given."""
    return given if given in (None, NO_MODEL) else find_source(given).said


def model_of(option: str | None) -> str:
    """The model that the option names; empty for none."""
    return "" if option in (None, NO_MODEL) else option


draft_model_option = click.option(
    "--draft-model",
    metavar="MODEL",
    callback=_as_said,
    help="A small model with the same tokens, which guesses ahead on this machine; or none.",
)

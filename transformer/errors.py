"""What can be wrong with a model or with what is asked of it.

* ModelError
  + UnsupportedModel      the configuration names something this project does not compute
  + UnsupportedTokenizer  its tokenizer is of a kind that is not read; ids still work
  + SettingsError         a sampling setting lies outside what has a meaning
  + PromptError           the text or the ids cannot be given to this model
    + PromptTooLong       it has more tokens than the context or the caches
  + ConstraintError       what an answer must keep to allows nothing more
  + StepError             a step does not continue what a stage holds, or passes its limits

Every message names the thing and the next step; it is shown to people as it stands.
"""

from collections.abc import Iterator
from contextlib import contextmanager


class ModelError(Exception):
    """Root of this tree."""


class UnsupportedModel(ModelError):
    """The configuration names an architecture or a shape that is not computed here."""


class UnsupportedTokenizer(ModelError):
    """A tokenizer file that is whole, and of a kind that is not read here."""


class SettingsError(ModelError):
    """A sampling setting is not a number, or lies outside its range."""


class PromptError(ModelError):
    """A prompt that this model cannot take: empty, too long, out of vocabulary, not text."""

    field_name: str | None = None
    """Which part of a request is at fault, where that is known."""


class PromptTooLong(PromptError):
    """A prompt, or with what it asks for a text, that has more tokens than there is room for."""


class ConstraintError(ModelError):
    """A schema or grammar that no token can go on with, or that cannot be followed."""


class StepError(ModelError):
    """A step that a stage cannot run: out of order, out of bounds, or malformed."""


@contextmanager
def naming(field_name: str) -> Iterator[None]:
    """Have a `PromptError` say which part of a request it is about, unless it does already."""
    try:
        yield
    except PromptError as error:
        error.field_name = error.field_name or field_name
        raise

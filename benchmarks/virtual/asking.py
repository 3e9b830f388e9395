"""How a benchmark asks a pipeline for texts."""

import contextlib
from collections.abc import Callable, Iterator, Sequence

from coordinator.generation import Generation, GenerationOptions
from coordinator.model import ServedModel
from coordinator.pipeline import Session, StageAddress
from transformer.sampling import SamplingSettings

Ask = Callable[[Sequence[int], int], Iterator[int]]
"""Of a prompt and a number of tokens: the tokens of the most likely answer, as they come. None ends it early."""


@contextlib.contextmanager
def asking(
    stages: Sequence[StageAddress],
    epoch: int,
    model: ServedModel,
    *,
    drafts: bool,  # noqa: ARG001
) -> Iterator[Ask]:
    """Take a pipeline. One text at a time; ``drafts`` come with the scheduler."""
    with Session(stages, epoch, model.vocab_size) as session:

        def ask(prompt: Sequence[int], tokens: int) -> Iterator[int]:
            options = GenerationOptions(
                SamplingSettings(temperature=0), max_tokens=tokens, ignore_eos=True
            )
            return iter(Generation(session, model, prompt, options))

        yield ask

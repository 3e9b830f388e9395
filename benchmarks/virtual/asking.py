"""How a benchmark asks a pipeline for texts."""

import contextlib
from collections.abc import Callable, Iterator, Sequence

from coordinator.generation import Generation, GenerationOptions
from coordinator.model import ServedModel
from coordinator.pipeline import Session, StageAddress
from transformer.sampling import SamplingSettings

Ask = Callable[[Sequence[int], int], Iterator[int]]
"""Of a prompt and a number of tokens: as many of the likeliest answer, as they come."""


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


def first_stage_seconds(
    stages: Sequence[StageAddress], epoch: int, vocab_size: int, sizes: Sequence[int]
) -> list[float]:
    """What the first stage computes for steps of so many rows of one text, sent one by one."""
    with Session(stages, epoch, vocab_size) as session:
        seconds, position = [], 0
        for rows in sizes:
            session.submit(1, position, range(rows))
            seconds.append(session.next_result().stages[0].compute_s)
            position += rows
    return seconds

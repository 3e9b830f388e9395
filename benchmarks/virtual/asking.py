"""How a benchmark asks a pipeline for texts."""

import contextlib
from collections.abc import Callable, Iterator, Sequence

from benchmarks.workers import PLAIN
from pi_cluster.coordinator.drafting.drafter import DraftSource
from pi_cluster.coordinator.generation import GenerationOptions
from pi_cluster.coordinator.scheduling.cache_limits import CacheLimits
from pi_cluster.coordinator.scheduling.counters import Counters
from pi_cluster.coordinator.scheduling.scheduler import Scheduler
from pi_cluster.coordinator.served_model import ServedModel
from pi_cluster.coordinator.session import Session
from pi_cluster.coordinator.stage_address import StageAddress
from pi_cluster.coordinator.steps import StepChunk
from pi_cluster.transformer.sampling_settings import SamplingSettings

Ask = Callable[[Sequence[int], int], Iterator[int]]
"""Of a prompt and a number of tokens: as many of the likeliest answer, as they come."""


@contextlib.contextmanager
def asking(
    stages: Sequence[StageAddress],
    epoch: int,
    model: ServedModel,
    limits: CacheLimits,
    drafts: bool,
    drafters: Sequence[DraftSource],
    counters: Counters,
) -> Iterator[Ask]:
    """Take a pipeline, for as many texts at once as are asked for; what is done is counted."""
    with (
        Session(stages, epoch, model.vocab_size, PLAIN) as session,
        Scheduler(*(session, model, limits), counters=counters, drafters=drafters) as scheduler,
    ):

        def ask(prompt: Sequence[int], tokens: int) -> Iterator[int]:
            greedy = SamplingSettings(temperature=0)
            options = GenerationOptions(greedy, tokens, ignore_eos=True, draft=drafts)
            return iter(scheduler.submit(prompt, options))

        yield ask


def first_stage_seconds(
    stages: Sequence[StageAddress], epoch: int, vocab_size: int, sizes: Sequence[int]
) -> list[float]:
    """What the first stage computes for steps of so many rows of one text, sent one by one."""
    with Session(stages, epoch, vocab_size, PLAIN) as session:
        seconds, position = [], 0
        for rows in sizes:
            session.submit([StepChunk(1, position, range(rows))])
            seconds.append(session.next_result().stages[0].compute_s)
            position += rows
    return seconds

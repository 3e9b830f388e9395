"""Measure a pipeline in the manner of llama-bench: each test several times, after a warm-up.

Prompts are random ids of a fixed seed and end-of-sequence is ignored, so that every run does the
same work on any model. No two texts share a beginning, be they of the same run or of others.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from pi_cluster.cluster.advice import command
from pi_cluster.coordinator.generation import Generation, GenerationOptions
from pi_cluster.coordinator.scheduling.cache_limits import CacheLimits
from pi_cluster.coordinator.scheduling.residents import LEAST_SHARED
from pi_cluster.coordinator.scheduling.scheduler import Scheduler
from pi_cluster.coordinator.scheduling.sent_steps import StepRecord
from pi_cluster.coordinator.served_model import ServedModel
from pi_cluster.transformer.errors import PromptError, SettingsError
from pi_cluster.transformer.sampling_settings import SamplingSettings

_SEED = 20231010


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """What to measure, and how often."""

    prompt_tokens: int = 512
    gen_tokens: int = 128
    repeat: int = 5
    chunk_size: int | None = None
    draft: bool = True
    users: tuple[int, ...] = (1,)
    depth: int = 0
    """Positions that each text holds already before anything is measured."""

    def __post_init__(self) -> None:
        if 0 < self.depth < LEAST_SHARED:
            raise SettingsError(
                f"depth is {self.depth}; it must be 0 or at least {LEAST_SHARED}, as shorter "
                "texts are not kept in the caches"
            )


class Phase(Enum):
    """What of a text is measured."""

    PREFILL = "prefill"
    DECODE = "decode"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class BenchTest:
    """``users`` texts begun together, each behind ``depth`` positions that are held already.

    A text of ``prompt_tokens`` goes on for ``gen_tokens``; where only decoding is measured, the
    first of these belongs to the prompt and is not counted.
    """

    phase: Phase
    users: int
    depth: int
    prompt_tokens: int
    gen_tokens: int

    @property
    def name(self) -> str:
        """As llama-bench has it: ``pp512``, ``tg128 @ d4096``, ``pp512+tg128``."""
        names = {
            Phase.PREFILL: f"pp{self.prompt_tokens}",
            Phase.DECODE: f"tg{self.gen_tokens - 1}",
            Phase.BOTH: f"pp{self.prompt_tokens}+tg{self.gen_tokens}",
        }
        return names[self.phase] + (f" @ d{self.depth}" if self.depth else "")

    @property
    def length(self) -> int:
        """Tokens of one text at its end."""
        return self.depth + self.prompt_tokens + self.gen_tokens


@dataclass(frozen=True, slots=True)
class BenchRun:
    """One run of a test, with the steps that came back during it."""

    test: BenchTest
    number: int
    generations: Sequence[Generation]
    steps: Sequence[StepRecord]

    @property
    def began_s(self) -> float:
        """When what is measured began, by ``time.perf_counter``."""
        times = [generation.measurement for generation in self.generations]
        match self.test.phase:
            case Phase.PREFILL:
                return min(time.prefill_began for time in times)
            case Phase.DECODE:
                return min(time.first_token_at for time in times)
            case Phase.BOTH:
                return min(time.requested_at for time in times)

    @property
    def wall_s(self) -> float:
        """From there to the last token."""
        return max(g.measurement.last_token_at for g in self.generations) - self.began_s

    @property
    def tokens(self) -> int:
        """What is counted, of all texts together: prompt tokens for prefill, else generated."""
        each = {
            Phase.PREFILL: self.test.prompt_tokens,
            Phase.DECODE: self.test.gen_tokens - 1,
            Phase.BOTH: self.test.gen_tokens,
        }
        return self.test.users * each[self.test.phase]


def planned_tests(options: BenchOptions) -> list[BenchTest]:
    """For one user prefill and decode apart; otherwise a whole answer for each number of users."""
    prompt, generated, depth = options.prompt_tokens, options.gen_tokens, options.depth
    if options.users == (1,):
        return [
            BenchTest(Phase.PREFILL, 1, depth, prompt, 1),
            BenchTest(Phase.DECODE, 1, depth, 1, generated + 1),
        ]
    return [BenchTest(Phase.BOTH, users, depth, prompt, generated) for users in options.users]


def check_room(tests: Sequence[BenchTest], model: ServedModel, limits: CacheLimits) -> None:
    """Raise with the figures unless every test fits with all its users at once.

    ``PromptError`` for a text that is longer than the context; ``SettingsError`` for users who
    would wait in the queue, whose times would say little of the pipeline.
    """
    for test in tests:
        if model.context is not None and test.length > model.context:
            raise PromptError(
                f"{test.name}: {test.length} tokens do not fit into the pipeline's context of "
                f"{model.context}: {model.room_for(test.length)}"
            )
        if test.users > limits.max_sequences:
            raise SettingsError(
                f"{test.users} users are more than the {limits.max_sequences} texts that a "
                "pipeline serves at once: measure fewer"
            )
        each = limits.tiles(test.length - 1)  # the last id is sampled and never sent
        room = limits.cache_positions // each
        if test.users > room:
            texts = math.ceil(test.users * each / limits.capacity)
            raise SettingsError(
                f"{test.name}: {test.users} users need {test.users * each} cache positions and the "
                f"pipeline has {limits.cache_positions}, so only {room} would be served at once: "
                "measure fewer or shorter texts, or run "
                f"`{command(model.cluster, 'up', '--texts', str(texts))}`"
            )


def run_bench(
    scheduler: Scheduler,
    steps: list[StepRecord],
    model: ServedModel,
    options: BenchOptions,
    on_run: Callable[[str], None],
) -> Iterator[list[BenchRun]]:
    """Run one test after the other, each after an unmeasured run; ``on_run`` is told what begins.

    ``steps`` is what a listener of the scheduler's ``on_step`` appends to. With a depth, the
    scheduler must reuse prefixes; without, the texts are too different for that to matter.
    """
    draw = np.random.default_rng(_SEED)
    for test in planned_tests(options):
        runs = []
        for number in range(options.repeat + 1):
            who = f", {test.users} users" if test.users > 1 else ""
            which = f"run {number} of {options.repeat}" if number else "warm-up"
            on_run(f"{test.name}{who}, {which}")
            prompts = [_prompt(model, test, draw) for _ in range(test.users)]
            if test.depth:
                _serve(scheduler, [prompt[: test.depth] for prompt in prompts], 1, options)
            steps.clear()
            generations = _serve(scheduler, prompts, test.gen_tokens, options)
            runs.append(BenchRun(test, number, generations, steps.copy()))
        yield runs[1:]


def _prompt(model: ServedModel, test: BenchTest, draw: np.random.Generator) -> list[int]:
    length = test.depth + test.prompt_tokens
    return [model.bos_id or 0, *draw.integers(0, model.vocab_size, length - 1).tolist()]


def _serve(
    scheduler: Scheduler, prompts: Sequence[Sequence[int]], max_tokens: int, options: BenchOptions
) -> list[Generation]:
    """Ask for all texts at once and wait for their ends."""
    greedy = SamplingSettings(temperature=0)
    asked = GenerationOptions(greedy, max_tokens, options.chunk_size, True, options.draft)
    generations = [scheduler.submit(prompt, asked) for prompt in prompts]
    for generation in generations:
        for _ in generation:
            pass
    return generations

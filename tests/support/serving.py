"""Texts through a scheduler on real stages, and what each of them would be alone."""

import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from pi_cluster.cluster.layer_range import LayerRange
from pi_cluster.cluster.store.store import Store
from pi_cluster.coordinator.drafting.drafter import DraftSource
from pi_cluster.coordinator.generation import Generation, GenerationOptions
from pi_cluster.coordinator.scheduling.cache_limits import CacheLimits
from pi_cluster.coordinator.scheduling.scheduler import Scheduler, SchedulerSettings
from pi_cluster.coordinator.scheduling.sent_steps import StepRecord
from pi_cluster.coordinator.served_model import ServedModel
from pi_cluster.coordinator.session import Session
from pi_cluster.coordinator.stage_address import StageAddress
from pi_cluster.transformer.sampling import sample, top_candidates
from pi_cluster.transformer.sampling_settings import SamplingSettings
from pi_cluster.transformer.stage import Chunk, Limits, Stage
from pi_cluster.worker.stage.loading import load_stage
from tests.support.kernel_engines import EVERY_VARIANT, engine
from tests.support.stages import run_step
from tests.support.worker_servers import EPOCH, PLAIN

GREEDY = SamplingSettings(temperature=0)


@dataclass(frozen=True)
class Line:
    """A pipeline and what a scheduler must know of it; and its model, whole, to compare with."""

    stages: Sequence[StageAddress]
    model: ServedModel
    limits: CacheLimits
    whole: Stage
    """All its layers as one stage of this process, which nobody else uses."""
    _known: dict[tuple[tuple[int, ...], SamplingSettings], list[int]] = field(default_factory=dict)

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Exclusive use of it."""
        with Session(self.stages, EPOCH, self.model.vocab_size, PLAIN) as session:
            yield session

    @contextmanager
    def served(
        self,
        settings: SchedulerSettings | None = None,
        limits: CacheLimits | None = None,
        on_step: Callable[[StepRecord], None] | None = None,
        drafters: Sequence[DraftSource] | None = None,
    ) -> Iterator[Scheduler]:
        """A scheduler on a session of its own."""
        with (
            self.session() as session,
            Scheduler(
                *(session, self.model, limits or self.limits, settings), drafters=drafters
            ) as scheduler,
        ):
            if on_step:
                scheduler.on_step.add(on_step)
            yield scheduler

    def alone(self, prompt: Sequence[int], sampling: SamplingSettings, count: int) -> list[int]:
        """The ids of a request by itself: one row a step, nothing guessed, nothing shared.

        No pipeline is asked for them, and from all logits the next id is drawn.
        """
        known = self._known.setdefault((tuple(prompt), sampling), [])
        if len(known) < count:
            known[:] = self._row_by_row(prompt, sampling, count)
        return known[:count]

    def _row_by_row(
        self, prompt: Sequence[int], sampling: SamplingSettings, count: int
    ) -> list[int]:
        text = list(prompt)
        for position in range(len(prompt) + count - 1):
            row = np.array([text[position]])
            _, logits = run_step([self.whole], [Chunk(1, position, 1)], row)
            if position >= len(prompt) - 1:
                best = top_candidates(logits[0], 0)
                text.append(sample(best, sampling, position + 1, set(text)))
        return text[len(prompt) :]


def whole_model(store: Store, limits: Limits) -> Stage:
    """All layers of a store as one stage of this process."""
    manifest = store.manifest
    layers = LayerRange(0, manifest.n_layers)
    return load_stage(manifest, layers, limits, store, engine(EVERY_VARIANT[0])).stage


@dataclass(frozen=True)
class Asked:
    """A request, and after how many ids whoever asked has seen enough; 0 cancels it at once."""

    prompt: Sequence[int]
    options: GenerationOptions
    enough: int


def traffic(
    scheduler: Scheduler,
    next_request: Callable[[random.Random], Asked],
    on_text: Callable[[list[int]], None],
    *,
    seed: int,
    requests: int,
) -> list[tuple[Asked, Generation]]:
    """Eight users who each ask so many times; ``on_text`` is given every text with its prompt."""
    done = []

    def one_user(number: int) -> None:
        draw = random.Random(seed * 100 + number)
        for _ in range(requests):
            asked = next_request(draw)
            generation = scheduler.submit(asked.prompt, asked.options)
            if not asked.enough:
                generation.cancel()
            for _ in generation:
                if len(generation.ids) == asked.enough:
                    break
            done.append((asked, generation))
            on_text([*asked.prompt, *generation.ids])

    with ThreadPoolExecutor(8) as pool:
        for user in [pool.submit(one_user, number) for number in range(8)]:
            user.result(timeout=100)
    assert len(done) == 8 * requests
    return done


def prompt_of(seed: int, length: int, vocab_size: int = 130) -> list[int]:
    """A prompt that repeats itself in part, so that there is something to guess."""
    draw = random.Random(seed)
    phrase = [draw.randrange(vocab_size) for _ in range(9)]
    ids = [1]
    while len(ids) < length:
        ids += phrase if draw.random() < 0.6 else [draw.randrange(vocab_size) for _ in range(5)]
    return ids[:length]


def answer(
    scheduler: Scheduler,
    prompt: Sequence[int],
    sampling: SamplingSettings = GREEDY,
    count: int = 30,
    *,
    draft: bool = True,
    chunk_size: int | None = None,
) -> list[int]:
    """All ids of one request."""
    options = GenerationOptions(sampling, count, chunk_size, draft=draft)
    return list(scheduler.submit(prompt, options))

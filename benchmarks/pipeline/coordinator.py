"""The coordinator of the measured pipelines, in a process of its own: asks for texts, and times.

Run by ``benchmarks.pipeline``, on the network where the workers are; one line of JSON is one
request (``benchmarks/json_process.py``). Nothing is guessed ahead, and sampling is greedy.
"""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.json_process import serve
from benchmarks.workers import PLAIN, bring_up, rollout
from pi_cluster.cluster.layer_range import LayerRange
from pi_cluster.cluster.store.store import Store
from pi_cluster.coordinator.generation import Generation, GenerationOptions
from pi_cluster.coordinator.planning.footprint import choose_limits
from pi_cluster.coordinator.records.pipeline_record import PipelineRecord
from pi_cluster.coordinator.scheduling.scheduler import Scheduler
from pi_cluster.coordinator.scheduling.sent_steps import StepRecord
from pi_cluster.coordinator.session import Session
from pi_cluster.transformer.config_form import read_config
from pi_cluster.transformer.sampling_settings import SamplingSettings

_GREEDY = SamplingSettings(temperature=0)
_SETTLING = 4  # tokens of each text that pass while others still begin


class Work:
    """What can be asked for; every result is a dictionary that JSON can hold."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._held: dict[str, _Held] = {}

    def open(
        self, name: str, store: str, addresses: list[str], bounds: list[int]
    ) -> dict[str, Any]:
        """Bring up a pipeline of workers whose layers are cut at ``bounds``, and take it."""
        opened = Store(Path(store))
        limits = choose_limits(read_config(opened.manifest.config), None, texts=8)
        ranges = [LayerRange(*pair) for pair in pairwise(bounds)]
        record = bring_up(rollout(opened, limits, addresses, ranges), Path())
        self._held[name] = self._stack.enter_context(_Held(record))
        return {"stages": len(ranges)}

    def decode(self, name: str, users: int, prompt: int, tokens: int) -> dict[str, Any]:
        """Seconds from token to token of each user, while all decode."""
        return {"seconds": self._held[name].decode(users, prompt, tokens)}

    def prefill(self, name: str, rows: int) -> dict[str, Any]:
        """Seconds from the request with a new prompt to its first token."""
        return {"seconds": self._held[name].prefill(rows)}

    def overhead(self, name: str, prompt: int, tokens: int) -> dict[str, Any]:
        """Seconds a stage that steps of one row take beside computing."""
        return {"seconds": self._held[name].overhead(prompt, tokens)}


class _Held:
    """A pipeline in use."""

    def __init__(self, record: PipelineRecord) -> None:
        self._record = record
        self._stack = ExitStack()
        self._steps: list[StepRecord] = []
        self._draw = np.random.default_rng(1)

    def __enter__(self) -> "_Held":
        record = self._record
        with ExitStack() as stack:
            session = Session(record.addresses, record.epoch, record.model.vocab_size, PLAIN)
            stack.enter_context(session)
            scheduler = Scheduler(session, record.model, record.cache_limits)
            scheduler.on_step.add(self._steps.append)
            self._scheduler = stack.enter_context(scheduler)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *failure: object) -> None:
        self._stack.close()

    def decode(self, users: int, prompt: int, tokens: int) -> list[float]:
        # All are asked before any is awaited, and each keeps its own times.
        asked = [self._ask(prompt, tokens) for _ in range(users)]
        with ThreadPoolExecutor(users) as pool:
            times = list(pool.map(_arrivals, asked))
        began = max(text[_SETTLING] for text in times)
        ended = min(text[-1] for text in times)
        return [
            after - before
            for text in times
            for before, after in pairwise(text)
            if before >= began and after <= ended
        ]

    def prefill(self, rows: int) -> float:
        generation = self._ask(rows, 1)
        list(generation)
        return generation.timings.ttft_s

    def overhead(self, prompt: int, tokens: int) -> list[float]:
        self._steps.clear()
        list(self._ask(prompt, tokens))
        decoding = [step for step in self._steps if not step.prompt_rows]
        return list(_beside_computing(decoding[_SETTLING:]))

    def _ask(self, prompt: int, tokens: int) -> Generation:
        ids = self._draw.integers(0, self._record.model.vocab_size, prompt).tolist()
        options = GenerationOptions(_GREEDY, tokens, ignore_eos=True, draft=False)
        return self._scheduler.submit(ids, options)


def _arrivals(generation: Generation) -> list[float]:
    return [time.perf_counter() for _ in generation]


def _beside_computing(steps: Sequence[StepRecord]) -> Iterator[float]:
    """From one lone step's departure to the next one's, so that sampling and deciding count too."""
    for step, following in pairwise(steps):
        computing = sum(stage.compute_s for stage in step.result.stages)
        yield (following.sent_s - step.sent_s - computing) / len(step.result.stages)


if __name__ == "__main__":
    with ExitStack() as everything:
        serve(Work(everything))

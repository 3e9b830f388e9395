"""Measure a pipeline in the manner of llama-bench: prefill and decode apart, several times.

Prompts are random ids of a fixed seed and end-of-sequence is ignored, so that every run does the
same work on any model.
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from coordinator.generation import Generation, GenerationOptions
from coordinator.measurement import StageTotal
from coordinator.model import ServedModel
from coordinator.pipeline import StageAddress
from coordinator.scheduler import Scheduler
from transformer.sampling import SamplingSettings

_SEED = 20231010


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """What to measure, and how often."""

    prompt_tokens: int = 512
    gen_tokens: int = 128
    repeat: int = 5
    chunk_size: int | None = None
    draft: bool = True


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean and sample standard deviation of repeated measurements."""

    mean: float
    deviation: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Summarise at least one value."""
        return cls(statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0)


@dataclass(frozen=True, slots=True)
class StageShare:
    """What one stage did per token of a test, in milliseconds."""

    node: str
    layers: str
    compute_ms: float
    wait_ms: float


@dataclass(frozen=True, slots=True)
class BenchRow:
    """One test's result: ``pp512`` is a prompt of 512 tokens, ``tg128`` 128 generated ones."""

    test: str
    tokens_per_second: Spread
    ttft_ms: Spread
    hop_ms: Spread | None
    """One link crossing; known only for steps that travel alone."""
    stages: tuple[StageShare, ...]


def run_bench(
    scheduler: Scheduler,
    stages: Sequence[StageAddress],
    model: ServedModel,
    options: BenchOptions,
    on_run: Callable[[str], None],
) -> list[BenchRow]:
    """Run both tests, after one unmeasured run of each. ``on_run`` is told what begins."""
    draw = np.random.default_rng(_SEED)
    prompt = [model.bos_id, *draw.integers(0, model.vocab_size, options.prompt_tokens - 1).tolist()]
    tests = [
        (f"pp{options.prompt_tokens}", prompt, 1),
        (f"tg{options.gen_tokens}", [model.bos_id], options.gen_tokens + 1),
    ]
    rows = []
    for name, ids, max_tokens in tests:
        runs = []
        for number in range(options.repeat + 1):
            on_run(f"{name}, {f'run {number} of {options.repeat}' if number else 'warm-up'}")
            runs.append(_run(scheduler, ids, max_tokens, options))
        rows.append(_summarise(name, runs[1:], stages))
    return rows


def _run(
    scheduler: Scheduler, ids: Sequence[int], max_tokens: int, options: BenchOptions
) -> Generation:
    greedy = SamplingSettings(temperature=0)
    asked = GenerationOptions(greedy, max_tokens, options.chunk_size, True, options.draft)
    generation = scheduler.submit(ids, asked)
    for _ in generation:
        pass
    return generation


def _summarise(name: str, runs: Sequence[Generation], stages: Sequence[StageAddress]) -> BenchRow:
    is_prefill = name.startswith("pp")
    rates = [r.timings.prefill_tps if is_prefill else r.timings.decode_tps for r in runs]
    tokens = sum(len(r.prompt_ids) if is_prefill else len(r.ids) - 1 for r in runs)
    totals = [r.measurement.prefill if is_prefill else r.measurement.decode for r in runs]
    hops = [hop * 1000 for r in runs for hop in r.measurement.hops_s]
    return BenchRow(
        test=name,
        tokens_per_second=Spread.of(rates),
        ttft_ms=Spread.of([r.timings.ttft_s * 1000 for r in runs]),
        hop_ms=Spread.of(hops) if hops else None,
        stages=tuple(
            _share(stage, [total[i] for total in totals], tokens) for i, stage in enumerate(stages)
        ),
    )


def _share(stage: StageAddress, totals: Sequence[StageTotal], tokens: int) -> StageShare:
    return StageShare(
        node=stage.name,
        layers=str(stage.layers),
        compute_ms=1000 * sum(t.compute_s for t in totals) / tokens,
        wait_ms=1000 * sum(t.wait_s for t in totals) / tokens,
    )

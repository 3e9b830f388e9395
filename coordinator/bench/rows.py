"""What the runs of a test come to: rates, waiting times, and what each stage did."""

import collections
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from pi_cluster.coordinator.bench.bench import BenchRun, Phase
from pi_cluster.coordinator.generation import Generation
from pi_cluster.coordinator.stage_address import StageAddress


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean and sample standard deviation of repeated measurements."""

    mean: float
    deviation: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Summarise at least one value."""
        return cls(statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0)


@dataclass(frozen=True, slots=True)
class Percentiles:
    """What half, and what 95 of 100 values do not exceed, interpolated between values."""

    p50: float
    p95: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Summarise at least one value, in any order."""
        return cls(*(float(value) for value in np.percentile(values, (50, 95))))


@dataclass(frozen=True, slots=True)
class StageShare:
    """What one stage did in a test: milliseconds for each token counted, and its busy share."""

    node: str
    layers: str
    compute_ms: float
    wait_ms: float
    busy: float
    """Computing time over the time of the runs, 0 to 1; steps that were given up are not in it."""


@dataclass(frozen=True, slots=True)
class BenchRow:
    """One test's result over its runs."""

    test: str
    users: int
    tokens_per_second: Spread
    """Of all users together: prompt tokens for ``pp``, else generated ones. In ``pp+tg`` the time
    runs from the start to the last token, the prompts' time included."""
    user_tokens_per_second: Spread
    """Of each user: as above for ``pp``, else its tokens after the first over their time, 0 where
    there are none."""
    ttft_ms: Percentiles
    """From the request to the first token, of all users and runs."""
    itl_ms: Percentiles | None
    """From a token to the next one of the same user; None where nothing was generated."""
    hop_ms: Spread | None
    """One link crossing; known only for decode steps that travel alone."""
    stages: tuple[StageShare, ...]
    guesses: dict[str, tuple[int, int]]
    """By who made them: the right ones, and all that were decided."""


def summarise(runs: Sequence[BenchRun], stages: Sequence[StageAddress]) -> BenchRow:
    """The row of at least one run of the same test."""
    test = runs[0].test
    generations = [generation for run in runs for generation in run.generations]
    times = [generation.timings for generation in generations]
    together = [run.tokens / run.wall_s for run in runs]
    gaps = [gap * 1000 for g in generations for gap in g.measurement.gaps_s]
    hops = [hop * 1000 for g in generations for hop in g.measurement.hops_s]
    is_prefill = test.phase is Phase.PREFILL
    each = together if is_prefill else [time.decode_tps for time in times]
    return BenchRow(
        test=test.name,
        users=test.users,
        tokens_per_second=Spread.of(together),
        user_tokens_per_second=Spread.of(each),
        ttft_ms=Percentiles.of([time.ttft_s * 1000 for time in times]),
        itl_ms=Percentiles.of(gaps) if gaps and not is_prefill else None,
        hop_ms=Spread.of(hops) if hops else None,
        stages=tuple(_share(index, stage, runs) for index, stage in enumerate(stages)),
        guesses=_guesses(generations),
    )


def _guesses(generations: Sequence[Generation]) -> dict[str, tuple[int, int]]:
    right, wrong = collections.Counter[str](), collections.Counter[str]()
    for generation in generations:
        right += generation.measurement.right_by
        wrong += generation.measurement.wrong_by
    return {name: (right[name], right[name] + wrong[name]) for name in sorted({*right, *wrong})}


def _share(index: int, stage: StageAddress, runs: Sequence[BenchRun]) -> StageShare:
    compute_s = wait_s = 0.0
    for run in runs:
        times = [s.result.stages[index] for s in run.steps if s.sent_s >= run.began_s]
        compute_s += sum(time.compute_s for time in times)
        # The first step's wait is that for the request.
        wait_s += sum(time.idle_s for time in times[1:])
    tokens = sum(run.tokens for run in runs)
    return StageShare(
        node=stage.name,
        layers=str(stage.layers),
        compute_ms=1000 * compute_s / tokens,
        wait_ms=1000 * wait_s / tokens,
        busy=compute_s / sum(run.wall_s for run in runs),
    )

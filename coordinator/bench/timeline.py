"""Who worked when: steps as every stage saw them, on the coordinator's clock.

Stages report when they began by clocks of their own, which have no relation to each other.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from pi_cluster.coordinator.scheduling.sent_steps import StepRecord


@dataclass(frozen=True, slots=True)
class Span:
    """From ``began_s`` to ``ended_s``, in seconds of the coordinator's ``time.perf_counter``."""

    began_s: float
    ended_s: float


@dataclass(frozen=True, slots=True)
class AlignedStep:
    """A step and when it was where."""

    record: StepRecord
    in_flight: Span
    stages: tuple[Span, ...]
    """When each stage computed it."""


def align(records: Sequence[StepRecord]) -> list[AlignedStep]:
    """The steps of one run on one clock, in their order."""
    offsets = clock_offsets(records)
    return [
        AlignedStep(
            record,
            Span(record.sent_s, record.received_s),
            tuple(
                Span(time.began_s - offset, time.began_s + time.compute_s - offset)
                for time, offset in zip(record.result.stages, offsets, strict=True)
            ),
        )
        for record in records
    ]


def clock_offsets(records: Sequence[StepRecord]) -> list[float]:
    """How far each stage's clock is ahead of the coordinator's, in seconds.

    A step reaches a stage after it has left the one before and crossed a link. By the two clocks
    concerned that takes the crossing and the difference of the clocks; the least over all steps is
    the one that was held up least. Summed over the whole round, from the coordinator to the
    coordinator, the differences cancel out, and what is left is the links' time alone. How it is
    shared among the links cannot be known from here, so each gets the same: an offset is wrong by
    at most the links' time, and no step arrives anywhere before it left. Clocks drift apart by some
    microseconds a second, so ``records`` should be those of one run.
    """
    if not records:
        return []
    crossings = [min(gaps) for gaps in zip(*map(_crossings, records), strict=True)]
    link_s = sum(crossings) / len(crossings)
    return list(itertools.accumulate(crossing - link_s for crossing in crossings[:-1]))


def _crossings(record: StepRecord) -> list[float]:
    """From leaving a place to arriving at the next, each by the clock that is there."""
    stages = record.result.stages
    left = [record.sent_s, *(time.began_s + time.compute_s for time in stages)]
    arrived = [*(time.began_s - time.queued_s for time in stages), record.received_s]
    return [after - before for before, after in zip(left, arrived, strict=True)]


def lanes(spans: Sequence[Span]) -> list[int]:
    """A lane from 0 for each span, in order of their beginnings, such that none overlap in one."""
    ends: list[float] = []
    chosen = []
    for span in spans:
        lane = next((i for i, end in enumerate(ends) if end <= span.began_s), len(ends))
        ends[lane : lane + 1] = [span.ended_s]
        chosen.append(lane)
    return chosen

"""Invented steps through stages whose clocks disagree."""

from pi_cluster.cluster.layer_range import LayerRange
from pi_cluster.coordinator.bench.bench import BenchRun, BenchTest, Phase
from pi_cluster.coordinator.scheduling.sent_steps import StepRecord
from pi_cluster.coordinator.stage_address import StageAddress
from pi_cluster.coordinator.steps import StageTime, StepResult

ADDRESSES = [
    StageAddress("a", "pi<1> & \x00 a name that is far too long", "h:1", LayerRange(0, 3)),
    StageAddress("b", "pi2", "h:2", LayerRange(3, 5)),
]


def step(number, sent_s, link_s, offsets_s, computes_s, queued_s=(0.0, 0.0), rows=(3, 1, 1)):
    """A step that crosses each link in ``link_s``; ``rows`` in all, of prompts, and guessed."""
    now, times = sent_s, []
    for offset_s, compute_s, waits_s in zip(offsets_s, computes_s, queued_s, strict=True):
        began = now + link_s + waits_s
        times.append(StageTime(compute_s, 0.0, waits_s, began + offset_s))
        now = began + compute_s
    total, prompt, guessed = rows
    result = StepResult(number, (), tuple(times))
    return StepRecord(sent_s, now + link_s, total, guessed, prompt, result)


def run_of(steps):
    """A run of two users that these steps belong to."""
    return BenchRun(BenchTest(Phase.BOTH, 2, 0, 8, 4), 1, [], steps)


def many_steps(count):
    """One after the other, as different as they come."""
    kinds = [(16, 16, 0), (4, 0, 0), (5, 0, 3), (2, 0, 2), (9, 7, 1)]
    return [
        step(n + 1, 0.0021 * n, 0.0004, (500.0, -3.25), (0.0013, 0.0017), rows=kinds[n % 5])
        for n in range(count)
    ]

"""Runs in the trace event format that Perfetto (ui.perfetto.dev) and chrome://tracing open.

Each node is a process with one track, on which lies a slice for each step it computed. The
coordinator has as many tracks as there were steps in flight at once, with a slice for each from
sent to received.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from pi_cluster.coordinator.bench.bench import BenchRun
from pi_cluster.coordinator.bench.timeline import Span, align, lanes
from pi_cluster.coordinator.scheduling.sent_steps import StepRecord
from pi_cluster.coordinator.stage_address import StageAddress

_COORDINATOR = 1  # Perfetto takes process 0 for the idle one


def chrome_trace(runs: Sequence[BenchRun], stages: Sequence[StageAddress]) -> str:
    """The JSON of all steps of some runs; time 0 is the first step's sending."""
    names = ["coordinator", *(f"{stage.name}, layers {stage.layers}" for stage in stages)]
    zero_s = min((step.sent_s for run in runs for step in run.steps), default=0.0)
    events = [_process_name(number, name) for number, name in enumerate(names, _COORDINATOR)]
    for run in runs:
        events += _run_events(run, zero_s)
    return json.dumps({"displayTimeUnit": "ms", "traceEvents": events}, separators=(",", ":"))


def _process_name(process: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "name": "process_name", "pid": process, "tid": 1, "args": {"name": name}}


def _run_events(run: BenchRun, zero_s: float) -> Iterator[dict[str, Any]]:
    aligned = align(run.steps)
    tracks = lanes([step.in_flight for step in aligned])
    for step, lane in zip(aligned, tracks, strict=True):
        about = _about(run, step.record)
        yield _slice(about, _COORDINATOR, lane + 1, step.in_flight, zero_s)
        for process, span in enumerate(step.stages, _COORDINATOR + 1):
            yield _slice(about, process, 1, span, zero_s)


def _about(run: BenchRun, step: StepRecord) -> dict[str, Any]:
    if step.prompt_rows:
        name = "prefill"
    else:
        name = "guesses" if step.guessed_rows == step.rows else "decode"
    return {
        "name": name,
        "args": {
            "step": step.result.step,
            "rows": step.rows,
            "prompt_rows": step.prompt_rows,
            "guessed_rows": step.guessed_rows,
            "test": run.test.name,
            "users": run.test.users,
            "run": run.number,
        },
    }


def _slice(
    about: dict[str, Any], process: int, track: int, span: Span, zero_s: float
) -> dict[str, Any]:
    # Both ends are rounded, not the length, or neighbours would overlap by a nanosecond.
    began_ns = round((span.began_s - zero_s) * 1e9)
    ended_ns = round((span.ended_s - zero_s) * 1e9)
    times = {"ts": began_ns / 1000, "dur": (ended_ns - began_ns) / 1000}
    return about | {"ph": "X", "pid": process, "tid": track} | times

"""What a step costs beside its arithmetic: processor time of real workers and of the coordinator.

    python -m benchmarks.virtual.overhead [--rounds N]

Three virtual workers on this machine's loopback, whose arithmetic takes 10 ms a step, as steps on
Pis come one by one and find nobody awake. Everything else is real: gRPC without TLS, Python, the
operating system. One user's answer is many steps of one row, long prompts are few steps of many;
from the two follow what a step and what a row cost. Processor time of all threads is counted, less
what an idle process spends in that time. Other programs only make it more, by emptying caches, so
the least of some rounds counts. ``pis.py`` keeps the figures. Takes a minute. Prints JSON last.
"""

import argparse
import contextlib
import json
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmarks.virtual.cluster import ROOT, ready_address, split_layers, worker_command
from benchmarks.virtual.experiments import asked
from benchmarks.virtual.measure import Job, load_stages, measure
from benchmarks.virtual.mistral import CONFIG, manifest_of
from benchmarks.virtual.pis import Board, Overhead
from benchmarks.virtual.texts import unguessable
from benchmarks.workers import PLAIN
from pi_cluster.cluster.layer_range import LayerRange
from pi_cluster.cluster.wire.client import NodeClient
from pi_cluster.coordinator.stage_address import StageAddress

_ROLES = ("first worker", "middle worker", "last worker")
_STEP_S = 0.01
_IDLE_S = 2.0
_DECODE = asked([unguessable(0, 6, 100)])
_PREFILL = asked([unguessable(seed, 2046, 1) for seed in range(4)])

Worker = subprocess.Popen[str]


@dataclass(frozen=True, slots=True)
class Spent:
    """By each worker and the coordinator for so many steps with so many rows."""

    steps: int
    rows: int
    wall_s: float
    seconds: tuple[float, ...]

    def since(self, before: "Spent") -> "Spent":
        """What came on top."""
        steps, rows = self.steps - before.steps, self.rows - before.rows
        pairs = zip(self.seconds, before.seconds, strict=True)
        more = tuple(after - earlier for after, earlier in pairs)
        return Spent(steps, rows, self.wall_s - before.wall_s, more)

    def beside(self, idle: "Spent") -> "Spent":
        """This without what the same processes spend when they do nothing."""
        share = self.wall_s / idle.wall_s
        pairs = zip(self.seconds, idle.seconds, strict=True)
        return replace(self, seconds=tuple(all_s - share * idle_s for all_s, idle_s in pairs))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.virtual.overhead")
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        decode = _measured(stack, Path(folder), _DECODE, rounds)
        prefill = _measured(stack, Path(folder), _PREFILL, rounds)
    found = {
        role: overhead(decode, prefill, who) for who, role in enumerate((*_ROLES, "coordinator"))
    }
    print("| processor time beside arithmetic | ms a step | ms a row |\n| --- | ---: | ---: |")
    for role, cost in found.items():
        print(f"| {role} | {1000 * cost.step_s:.3f} | {1000 * cost.row_s:.4f} |")
    print(json.dumps({role: asdict(cost) for role, cost in found.items()}))


def overhead(decode: Sequence[Spent], prefill: Sequence[Spent], who: int) -> Overhead:
    """The costs of a step and of a row that explain two kinds of work, the least of each."""
    short, long = (
        min(kind, key=lambda spent: spent.seconds[who] / spent.steps) for kind in (decode, prefill)
    )
    short_s, long_s = (spent.seconds[who] / spent.steps for spent in (short, long))
    short_rows, long_rows = (spent.rows / spent.steps for spent in (short, long))
    row_s = (long_s - short_s) / (long_rows - short_rows)
    return Overhead(step_s=short_s - short_rows * row_s, row_s=row_s)


def _measured(stack: contextlib.ExitStack, folder: Path, job: Job, rounds: int) -> list[Spent]:
    workers = [stack.enter_context(_worker(folder, job)) for _ in _ROLES]
    addresses = [ready_address(worker) for worker in workers]
    ranges = [LayerRange(*layers) for layers in split_layers(CONFIG.n_layers, len(workers))]
    stages = [
        StageAddress(address, address, address, layers)
        for address, layers in zip(addresses, ranges, strict=True)
    ]
    load_stages(stages, manifest_of(CONFIG))
    measure(stages, CONFIG, job)  # a first time imports and connects
    before = _spent(stages, workers)
    time.sleep(_IDLE_S)
    idle = _spent(stages, workers).since(before)
    measured = []
    for _ in range(rounds):
        before = _spent(stages, workers)
        measure(stages, CONFIG, job)
        measured.append(_spent(stages, workers).since(before).beside(idle))
    return measured


@contextlib.contextmanager
def _worker(folder: Path, job: Job) -> Iterator[Worker]:
    scripts = folder / "scripts.json"
    scripts.write_text(json.dumps(job.scripts))
    layer_bytes = sum(file.size_bytes for file in manifest_of(CONFIG).files) / len(_ROLES)
    board = Board("quick", bandwidth=layer_bytes / _STEP_S, rate=1e16)
    command = worker_command("127.0.0.1:0", board, scripts)
    pipe = subprocess.PIPE
    worker = subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True)
    try:
        yield worker
    finally:
        worker.communicate()


def _spent(stages: Sequence[StageAddress], workers: Sequence[Worker]) -> Spent:
    with NodeClient(stages[0].peer, PLAIN) as client:
        stage = client.describe().stage
    seconds = (*map(_asked, workers), time.process_time())
    return Spent(stage.steps, stage.rows, time.perf_counter(), seconds)


def _asked(worker: Worker) -> float:
    assert worker.stdin is not None and worker.stdout is not None
    worker.stdin.write("\n")
    worker.stdin.flush()
    return float(worker.stdout.readline())


if __name__ == "__main__":
    main()

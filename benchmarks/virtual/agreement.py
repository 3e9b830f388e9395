"""Whether simulation and reality agree, on this machine: two real stages against two virtual ones.

    python -m benchmarks.virtual.agreement [--rounds N] [--folder DIR]

Each real worker holds 5 layers of Mistral 7B's width, random values in 4 bits, and computes with
one thread on a core of its own. The bandwidth and the rate of the virtual workers are fitted to
the first real stage while it works alone; then both pipelines decode and prefill in turn, and
medians are compared. Nothing else should be running. Needs two cores and 4 GB in DIR; takes about
three minutes. The last line is JSON.
"""

import argparse
import contextlib
import itertools
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.kernels.layer_files import write_layers
from benchmarks.kernels.layer_store import CONFIG, write_store
from benchmarks.virtual.asking import first_stage_seconds
from benchmarks.virtual.cluster import ROOT, ready_address, worker_command
from benchmarks.virtual.experiments import asked, decode_tps, prefill_tps
from benchmarks.virtual.measure import EPOCH, LIMITS, Job, load_stages, measure
from benchmarks.virtual.pis import Board, stage_work
from benchmarks.virtual.texts import unguessable
from benchmarks.workers import CLUSTER, PLAIN
from pi_cluster.cluster.layer_range import LayerRange
from pi_cluster.cluster.store.store import Store
from pi_cluster.cluster.wire.client import NodeClient
from pi_cluster.coordinator.stage_address import StageAddress
from pi_cluster.transformer.layer import Span
from pi_cluster.worker.command_line import WorkerCommand

_RANGES = (LayerRange(0, 5), LayerRange(5, 10))
_MANY_ROWS = 64
_FITTED_STEPS = [_MANY_ROWS] * 8 + [1] * 16  # medians leave out the first, which maps the files


def main() -> None:
    """Measure and print."""
    options = _options()
    cores = sorted(os.sched_getaffinity(0))[: len(_RANGES)]
    if len(cores) < len(_RANGES):
        sys.exit("benchmarks.virtual.agreement: two real stages need two cores")
    jobs = {
        "decode": asked([unguessable(0, 62, 40)]),
        "prefill": asked([unguessable(0, 510, 1)]),
    }
    with tempfile.TemporaryDirectory(dir=options.folder) as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        write_layers(folder)
        store = write_store(folder / "store", folder)
        real = _pipeline([stack.enter_context(_real(folder, core)) for core in cores], store)
        for stage in real:
            _hand_out_shards(store, stage)
        load_stages(real, store.manifest)
        board = _fitted(store, real)
        print(f"fitted: {board.bandwidth / 1e9:.1f} GB/s, {board.rate / 1e9:.0f} GMAC/s")
        found = {}
        for key, job in jobs.items():
            with _virtual(folder, board, job) as addresses:
                virtual = _pipeline(addresses, store)
                load_stages(virtual, store.manifest)
                found[key] = _compare(key, job, virtual, real, options.rounds)
    print(json.dumps({"simulation_to_reality": found}))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.virtual.agreement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", help="where 4 GB may lie for the time of the run")
    return parser.parse_args()


def _pipeline(addresses: Sequence[str], store: Store) -> list[StageAddress]:
    assert store.manifest.n_layers == _RANGES[-1].stop
    pairs = zip(addresses, _RANGES, strict=True)
    return [StageAddress(address, address, address, layers) for address, layers in pairs]


@contextlib.contextmanager
def _real(folder: Path, core: int) -> Iterator[str]:
    """A worker as people start it, on one core."""
    data_dir = folder / f"worker-{core}"
    command = WorkerCommand(
        CLUSTER, str(data_dir), threads=1, listen="127.0.0.1:0", announce=False
    ).words
    everywhere = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})  # inherited by what starts meanwhile
    try:
        process = _start(command, data_dir.with_suffix(".log"))
    finally:
        os.sched_setaffinity(0, everywhere)
    with _ending(process):
        yield ready_address(process)


@contextlib.contextmanager
def _virtual(folder: Path, board: Board, job: Job) -> Iterator[list[str]]:
    """Two virtual workers that play a job's scripts."""
    scripts = folder / "scripts.json"
    scripts.write_text(json.dumps(job.scripts))
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(
                _ending(_start(worker_command("127.0.0.1:0", board, scripts), folder / f"{i}.log"))
            )
            for i, _ in enumerate(_RANGES)
        ]
        yield [ready_address(process) for process in processes]


def _start(command: list[str], log_path: Path) -> "subprocess.Popen[str]":
    pipe = subprocess.PIPE
    with log_path.open("w") as log:
        return subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=log, text=True)


@contextlib.contextmanager
def _ending(process: "subprocess.Popen[str]") -> Iterator["subprocess.Popen[str]"]:
    try:
        yield process
    finally:
        process.terminate()
        process.communicate()


def _hand_out_shards(store: Store, stage: StageAddress) -> None:
    with NodeClient(stage.peer, PLAIN) as client:
        files = store.manifest.stage_files(stage.layers.start, stage.layers.stop)
        held = client.find_shards(files).held
        for file in (file for file in files if file.sha256 not in held):
            client.put_shard(file, store.path_of(file), 0, lambda _: None)


def _fitted(store: Store, real: Sequence[StageAddress]) -> Board:
    """The constants of the first real stage, from steps that travel alone."""
    work = stage_work(store.manifest, _RANGES[0], LIMITS)
    seconds = first_stage_seconds(real, EPOCH, CONFIG.vocab_size, _FITTED_STEPS)
    starts = list(itertools.accumulate(_FITTED_STEPS, initial=0))

    def per_second(unit: Board, wanted: int) -> float:
        """Median over the steps of ``wanted`` rows of how many units each took a second."""
        return statistics.median(
            (work.layers_s(unit, rows) + work.attention_s(unit, [Span(0, rows, start)])) / taken
            for rows, start, taken in zip(_FITTED_STEPS, starts, seconds, strict=False)
            if rows == wanted
        )

    return Board(
        "fitted",
        bandwidth=per_second(Board("a byte a second", 1.0, math.inf), 1),
        rate=per_second(Board("a multiply-add a second", math.inf, 1.0), _MANY_ROWS),
    )


def _compare(
    key: str,
    job: Job,
    virtual: Sequence[StageAddress],
    real: Sequence[StageAddress],
    rounds: int,
) -> float:
    """Simulated speed : real speed, medians of rounds taken in turn."""
    figure = {"decode": decode_tps, "prefill": prefill_tps}[key]
    speeds: list[list[float]] = [[], []]
    for _ in range(rounds):
        for stages, measured in zip((virtual, real), speeds, strict=True):
            speed, _ = measure(stages, CONFIG, job)
            measured.append(figure([speed]))
    simulated, seen = map(statistics.median, speeds)
    print(f"{key}: simulated {simulated:.2f}, real {seen:.2f} tokens/s, {simulated / seen:.2f} : 1")
    return simulated / seen


if __name__ == "__main__":
    main()

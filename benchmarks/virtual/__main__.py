"""What several Raspberry Pis would reach, with the real coordinator, workers and wire.

    python -m benchmarks.virtual [--only KEY ...] [--at-once N]

Every figure is simulated: the workers are real but for their arithmetic, which waits for as long
as a Pi would compute (``pis.py``) and plays back texts (``texts.py``), and the network between
them is emulated (``network.py``). Simulated time is real time. Needs root and gcc, takes half an
hour; ``--at-once`` experiments run beside each other, since workers only sleep. Prints
two tables and, last, JSON.
"""

import argparse
import json
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from benchmarks.kernels.report import as_json, table
from benchmarks.virtual.cluster import Experiment, ExperimentError, run
from benchmarks.virtual.experiments import (
    PREDICTIONS,
    USERS,
    Speeds,
    decode_tps,
    requirements,
)
from benchmarks.virtual.measure import Speed
from benchmarks.virtual.pis import BOARDS, SIMULATED
from tests.testbed.network.network import NetworkError, check_possible

_PREDICTIONS = "predictions"


def main() -> None:
    """Measure and print."""
    wanted = requirements()
    options = _options([requirement.key for requirement in wanted])
    chosen = [requirement for requirement in wanted if requirement.key in options.only]
    predictions = PREDICTIONS if _PREDICTIONS in options.only else []
    experiments = [e for requirement in chosen for e in requirement.experiments]
    experiments += [e for prediction in predictions for e in (prediction.one, prediction.many)]
    try:
        check_possible()
        speeds = _run(list(dict.fromkeys(experiments)), options.at_once)
    except (NetworkError, ExperimentError) as error:
        sys.exit(f"benchmarks.virtual: {error}")
    print(f"{SIMULATED}.\n")
    rows = [requirement.row(speeds) for requirement in chosen]
    print(table(rows))
    figures = [
        (BOARDS[p.board].name, p.nodes, *(decode_tps([speeds[e]]) for e in (p.one, p.many)))
        for p in predictions
    ]
    if predictions:
        print(
            f"\n| simulated, Gigabit | 1 user, tokens/s | {USERS} users, tokens/s |\n|---|---|---|"
        )
    for board, nodes, one, many in figures:
        print(f"| {nodes} x {board} | {one:.2f} | {many:.2f} |")
    names = ("board", "nodes", "one_user_tps", "users_tps")
    found = [dict(zip(names, figure, strict=True)) for figure in figures]
    print(json.dumps({"simulated": True, **as_json(rows), _PREDICTIONS: found}))


def _options(keys: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.virtual")
    every = [*keys, _PREDICTIONS]
    parser.add_argument("--only", nargs="+", choices=every, default=every, metavar="KEY")
    parser.add_argument("--at-once", type=int, default=2, help="experiments, default 2")
    return parser.parse_args()


def _run(experiments: Sequence[Experiment], at_once: int) -> Speeds:
    """Do all experiments; a failure or Ctrl-C ends those that run."""
    stopping = threading.Event()
    with ThreadPoolExecutor(at_once) as pool:
        runs = {e: pool.submit(_report, e, stopping) for e in experiments}
        try:
            return {experiment: future.result() for experiment, future in runs.items()}
        finally:
            stopping.set()
            pool.shutdown(cancel_futures=True)


def _report(experiment: Experiment, stopping: threading.Event) -> Speed:
    speed = run(experiment, stopping)
    print(
        f"{experiment.nodes} x {experiment.board}, {experiment.network}, "
        f"{len(experiment.job.prompts)} user(s), drafts {experiment.job.drafts}, model "
        f"{experiment.job.model}: prefill "
        f"{speed.prefill_tokens} in {speed.prefill_s:.1f} s, decode {speed.decode_tokens} in "
        f"{speed.decode_s:.1f} s, simulated",
        file=sys.stderr,
        flush=True,
    )
    return speed


if __name__ == "__main__":
    main()

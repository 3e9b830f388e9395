"""Many requests, 100 at once, for minutes: no token is lost or another's, and no memory grows.

    python -m benchmarks.soak [--requests N] [--users N] [--workers N] [--seed N]

The embedded model on local workers, as ``pi-cluster up --local`` starts them, with caches for all
users. Each user asks one thing after another: one of a few dozen prompts, some of which share
their beginnings, with its own sampling; as many tokens as chance wants; drafts or none. Some stop
listening early. Every answer must be, to its last token, the beginning of what the same prompt and
sampling gave alone. Memory is what is resident and no file's, caches apart: after the first tenth
of the requests it may grow by ``MOST_GROWTH_MIB`` in no process. The caches must stay within what
was bought for them.

Ends with 1 if anything is wrong. Takes about two minutes on two cores. The last line is JSON.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.kernels.machine import cpu_name
from benchmarks.soak.memory import MOST_GROWTH_MIB, Growth, MemoryWatch, Watched, growths
from benchmarks.soak.questions import Tally, answered_alone, ask_all, questions
from benchmarks.workers import PLAIN
from pi_cluster.cluster import settings
from pi_cluster.coordinator.records.kept_record import load_record
from pi_cluster.coordinator.records.pipeline_record import PipelineRecord
from pi_cluster.coordinator.scheduling.scheduler import Scheduler, SchedulerSettings
from pi_cluster.coordinator.session import Session
from pi_cluster.transformer.config_form import read_config
from pi_cluster.transformer.kernel_arithmetic import kernel_shapes, most_cache_bytes
from pi_cluster.worker.presence import find_presence

_CLUSTER = "soak"
_SAMPLES = 200


def main() -> None:
    """Soak, print, and end with 1 if anything was wrong."""
    options = _options()
    with tempfile.TemporaryDirectory() as folder, _pipeline(Path(folder), options) as record:
        asked = questions(record.model.vocab_size, record.model.bos_id or 0, options.seed)
        print(f"{len(asked)} questions, one by one ...", file=sys.stderr, flush=True)
        with _scheduler(record, SchedulerSettings(reuse_prefixes=False)) as scheduler:
            asked = answered_alone(scheduler, asked)
        tally, began = Tally(), time.perf_counter()
        every = options.requests // _SAMPLES
        with (
            _scheduler(record) as scheduler,
            MemoryWatch(_watched(record), tally, every) as watch,
        ):
            ask_all(scheduler, asked, options.requests, options.users, options.seed, tally)
        seconds = time.perf_counter() - began
    found = growths(watch.samples, options.requests // 10)
    is_good = (
        tally.done == options.requests
        and not tally.wrong
        and watch.caches_within_limits
        and all(growth.is_flat for growth in found.values())
    )
    _print(tally, found, watch.caches_within_limits, seconds, options)
    sys.exit(0 if is_good else 1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--users", type=int, default=100)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


@contextlib.contextmanager
def _pipeline(folder: Path, options: argparse.Namespace) -> Iterator[PipelineRecord]:
    """The embedded model on local workers whose folders lie in ``folder``."""
    os.environ["XDG_STATE_HOME"] = str(folder / "state")
    os.environ["XDG_DATA_HOME"] = str(folder / "data")
    words = ["--local", str(options.workers), "--texts", str(options.users)]
    try:
        _command("up", *words)
        yield load_record(_CLUSTER)
    finally:
        _command("down")


def _command(name: str, *words: str) -> None:
    program = str(Path(sys.executable).with_name("pi-cluster"))
    subprocess.run([program, name, "--cluster", _CLUSTER, *words], check=True, stdout=sys.stderr)


@contextlib.contextmanager
def _scheduler(
    record: PipelineRecord, chosen: SchedulerSettings | None = None
) -> Iterator[Scheduler]:
    with (
        Session(record.addresses, record.epoch, record.model.vocab_size, PLAIN) as session,
        Scheduler(session, record.model, record.cache_limits, chosen) as scheduler,
    ):
        yield scheduler


def _watched(record: PipelineRecord) -> list[Watched]:
    config = read_config(record.manifest.config)
    full = [shape.cache_bytes_per_layer for shape in kernel_shapes(config, record.limits)]
    most = most_cache_bytes(config, record.limits)
    found = [Watched("coordinator", os.getpid())]
    for number, stage in enumerate(record.addresses, 1):
        presence = find_presence(settings.local_worker_data(_CLUSTER, number))
        assert presence is not None, "a worker has ended"
        layers = slice(stage.layers.start, stage.layers.stop)
        bytes_of = sum(full[layers]), sum(most[layers])
        found.append(Watched(f"worker {number}", presence.process_id, *bytes_of))
    return found


def _print(
    tally: Tally,
    found: Mapping[str, Growth],
    caches_within_limits: bool,
    seconds: float,
    options: argparse.Namespace,
) -> None:
    for text in tally.wrong[:10]:
        print(f"WRONG {text}")
    print(
        f"{cpu_name()}: {tally.done} of {options.requests} requests of {options.users} users in "
        f"{seconds:.0f} s, {tally.tokens} tokens, {tally.cancelled} cancelled; "
        f"{len(tally.wrong)} wrong, {options.requests - tally.done} lost"
    )
    print(f"caches within their limits: {'yes' if caches_within_limits else 'NO'}")
    print("| process | MiB when warm | at the end | a 1000 requests | |")
    print("| --- | ---: | ---: | ---: | --- |")
    for name, growth in found.items():
        verdict = "flat" if growth.is_flat else f"GROWS by more than {MOST_GROWTH_MIB:.0f} MiB"
        figures = f"{growth.start:.1f} | {growth.end:.1f} | {growth.slope:+.2f}"
        print(f"| {name} | {figures} | {verdict} |")
    values = {"requests": tally.done, "wrong": len(tally.wrong), "seconds": seconds}
    memory = {name: [growth.start, growth.end, growth.slope] for name, growth in found.items()}
    print(json.dumps({**values, "memory_mib": memory}))


if __name__ == "__main__":
    main()

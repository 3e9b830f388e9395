"""Memory and loading of a worker that holds 8 layers, over gRPC on this machine.

    python -m benchmarks.kernels.footprint [--core N] [--folder DIR]

Three workers are one pipeline: the one that is measured has the 8 layers in the middle, so it
receives hidden states and sends them on. All run on one core. Loading is timed from the request to
the answer, which the worker gives when it is ready for steps. Memory is what it holds in a session
after a step of 512 rows, the largest one, without the pages of mapped files and of caches; the
peak, during the step, has messages of 8 MiB on top. The last line is JSON.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.kernels import machine
from benchmarks.kernels.layer_files import write_layers
from benchmarks.kernels.layer_store import CONFIG, MIDDLE, write_store
from benchmarks.process_memory import PeakMemory, memory_of
from benchmarks.workers import PLAIN, bring_up, rollout, worker
from pi_cluster.cluster.layer_range import LayerRange
from pi_cluster.coordinator.pipeline.rollout import Rollout, load_stage
from pi_cluster.coordinator.planning.footprint import choose_limits
from pi_cluster.coordinator.session import Session
from pi_cluster.coordinator.steps import StepChunk
from pi_cluster.transformer.kernel_arithmetic import kernel_shapes

_RANGES = (
    LayerRange(0, MIDDLE.start),
    LayerRange(MIDDLE.start, MIDDLE.stop),
    LayerRange(MIDDLE.stop, CONFIG.n_layers),
)
_MEASURED = 1
_LOADS = 5
_LIMITS = choose_limits(CONFIG, None)


def measure(layers_folder: Path) -> dict[str, float]:
    """``load_s``, the median of 5; beyond weights and caches ``loaded_mib`` before the step,
    ``peak_mib`` during and ``memory_mib`` after it; ``cache_mib``.

    ``layers_folder`` holds the files of ``write_layers``; the store and the workers' folders are
    put beside them. The workers run on the cores that this process may use.
    """
    store = write_store(layers_folder / "store", layers_folder)
    with ExitStack() as stack:
        workers = [
            stack.enter_context(worker(layers_folder / f"worker-{i}")) for i in range(len(_RANGES))
        ]
        planned = rollout(store, _LIMITS, [one.address for one in workers], _RANGES)
        record = bring_up(planned, layers_folder)
        load_s = statistics.median(_timed_load(planned, record.epoch) for _ in range(_LOADS))
        process_id = workers[_MEASURED].process_id
        shapes = kernel_shapes(CONFIG, _LIMITS)[MIDDLE.start : MIDDLE.stop]
        cache_bytes = sum(shape.cache_bytes_per_layer for shape in shapes)
        loaded = memory_of(process_id, cache_bytes)
        with Session(record.addresses, record.epoch, CONFIG.vocab_size, PLAIN) as session:
            ids = [i % CONFIG.vocab_size for i in range(_LIMITS.max_step_rows)]
            with PeakMemory(process_id, cache_bytes) as peak:
                session.submit([StepChunk(0, 0, ids, logit_rows=1, candidates=1)])
                session.next_result()
            after = memory_of(process_id, cache_bytes)
    return {
        "load_s": load_s,
        "loaded_mib": loaded.others_bytes / 2**20,
        "memory_mib": after.others_bytes / 2**20,
        "peak_mib": peak.bytes / 2**20,
        "cache_mib": after.caches_bytes / 2**20,
    }


def _timed_load(planned: Rollout, epoch: int) -> float:
    start = time.perf_counter()
    load_stage(planned, _MEASURED, epoch)
    return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kernels.footprint")
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)))
    parser.add_argument("--folder", help="where 4 GB may lie for the time of the run")
    options = parser.parse_args()
    os.sched_setaffinity(0, {options.core})
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        write_layers(Path(name))
        found = measure(Path(name))
    print(machine.describe(options.core))
    print(f"loading {len(MIDDLE)} layers from the page cache: {found['load_s']:.4f} s")
    print(
        f"memory beyond weights and {found['cache_mib']:.0f} MiB of caches: loaded "
        f"{found['loaded_mib']:.1f} MiB, after a step of {_LIMITS.max_step_rows} rows "
        f"{found['memory_mib']:.1f} MiB, during it {found['peak_mib']:.1f} MiB"
    )
    print(json.dumps(found))


if __name__ == "__main__":
    main()

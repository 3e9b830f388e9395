"""The kernels against what they must reach, at the shapes of Mistral 7B. ``make bench-kernels``.

    python -m benchmarks.kernels [--peer-python PYTHON] [--core N] [--rounds N] [--folder DIR]

One thread, pinned to one core, on random weights; ratios within one run, medians. Nothing else
should be running. Takes about seven minutes and 4 GB in DIR. Prints a table and, last, JSON.

The peer is llama.cpp, in a Python that has the dependency group ``bench``; without it its rows are
not measured. Build it for the machine, or the comparison flatters us::

    CMAKE_ARGS="-DGGML_NATIVE=ON" pip install --no-binary llama-cpp-python --group bench

On a machine that lists AMX and cannot run it, name the instruction sets: ``-DGGML_NATIVE=OFF
-DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON -DGGML_AVX512=ON -DGGML_AVX512_VBMI=ON
-DGGML_AVX512_VNNI=ON``.
"""

import argparse
import contextlib
import json
import os
import sys
import tempfile
from pathlib import Path

from benchmarks.kernels import footprint, formats, machine, report
from benchmarks.kernels.layer_files import write_layers
from benchmarks.kernels.peer_process import PeerError, PeerProcess
from benchmarks.kernels.products import FEW_ROWS, Times, measure_few_rows
from benchmarks.kernels.versus import compare_product, compare_stage
from pi_cluster.kernels import Engine, variants


def main() -> None:
    """Measure and print."""
    options = _options()
    os.sched_setaffinity(0, {options.core})
    print(machine.describe(options.core), flush=True)
    names = [name for name in variants() if name != "portable"] or ["portable"]
    engines = [Engine(name, threads=1) for name in names]
    times = measure_few_rows(engines, options.rounds)
    _print_products(times, names)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        rows = report.product_rows(times, names[0])
        print("the other formats of 4 bits ...", file=sys.stderr)
        rows += formats.rows_of_report(formats.measure(engines, Path(folder), options.rounds))
        rows += _measure_rest(engines[0], Path(folder), options)
    print(report.table(rows))
    print(json.dumps({"machine": machine.describe(options.core), **report.as_json(rows)}))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kernels")
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--folder", help="where 4 GB may lie for the time of the run")
    parser.add_argument("--peer-python", default=sys.executable, help="a Python with the peer")
    return parser.parse_args()


def _measure_rest(engine: Engine, folder: Path, options: argparse.Namespace) -> list[report.Row]:
    write_layers(folder)
    reason = ""
    with contextlib.ExitStack() as stack:
        peer = None
        try:
            peer = stack.enter_context(PeerProcess(options.peer_python, folder, options.core))
        except PeerError as error:
            reason = str(error)
        print("256 rows ...", file=sys.stderr)
        product = compare_product(engine, folder, peer, options.rounds)
        print("the stage: opening, decode, prefill ...", file=sys.stderr)
        stage = compare_stage(engine, folder, peer, options.rounds)
    print("a worker: loading, memory ...", file=sys.stderr)
    found = footprint.measure(folder)
    return [
        *report.pair_rows(product, stage, reason),
        *report.footprint_rows(found["load_s"], found["memory_mib"], found["peak_mib"]),
    ]


def _print_products(times: Times, names: list[str]) -> None:
    print(f"q4 matrix of 14336 x 4096, plain read {1e3 * times['read', 1]:.2f} ms")
    for name in names:
        cells = (f"{rows} rows {1e3 * times[name, rows]:.2f} ms" for rows in FEW_ROWS)
        print(f"{name:13}", ", ".join(cells), flush=True)


if __name__ == "__main__":
    main()

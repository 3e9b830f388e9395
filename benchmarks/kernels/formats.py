"""q4n, q4_1 and q4k beside q4: one row as fast as memory brings it, and many rows.

    python -m benchmarks.kernels.formats [--core N] [--rounds N] [--folder DIR]

``make bench-kernels`` measures this among the rest. One thread, pinned to one core. Everything is
measured in turn, and each format by its quickest quarter: what else the machine does only adds
time. One row is counted in bytes a second, of weights in mapped files, as workers have them, which
were last touched several hundred megabytes ago; many rows in time, of a smaller matrix. Takes
900 MB in DIR. The last line is JSON.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from operator import ge
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.kernels import machine, report
from benchmarks.kernels.layer_files import MATRICES
from pi_cluster.kernels import Engine, Matrix, packed_bytes, variants

BASE, OTHERS = "q4", ("q4n", "q4k", "q4_1")
ONE_ROW, MANY_ROWS = 1, 256
_COPIES = 3  # of both shapes, 200 MB a format
_SHAPES = (MATRICES["w1"], MATRICES["w2"])
_BLOCK_BYTES = {"q4": 288, "q4n": 288, "q4_1": 320, "q4k": 2304}
_HALVES = {"q4": 16, "q4n": 16, "q4_1": 32, "q4k": 32}
_LEAST_OF_MANY_ROWS = {"q4n": 0.92, "q4_1": 0.85, "q4k": 0.85}
_SMALL = (1024, MATRICES["w1"][1])  # many rows of it take some milliseconds, seldom interrupted

Times = dict[tuple[str, str, int], float]
"""Seconds of one matrix, by variant, format and rows."""


def random_matrix(form: str, rows: int, columns: int, seed: int) -> Matrix:
    """Random quants and levels, with scales that keep the size of what is multiplied."""
    generator = np.random.default_rng(seed)
    data = np.frombuffer(bytearray(generator.bytes(packed_bytes(form, rows, columns))), np.uint8)
    blocks = data.reshape(-1, _BLOCK_BYTES[form])
    halves = generator.uniform(1e-4, 1e-3, (len(blocks), _HALVES[form])).astype(np.float16)
    blocks[:, : 2 * _HALVES[form]] = halves.view(np.uint8)
    return Matrix(form, rows, columns, data)


def measure(engines: list[Engine], folder: Path, rounds: int) -> Times:
    """The time of each engine, format and number of rows."""
    matrices = {
        form: [
            _mapped(random_matrix(form, *sides, i), folder / f"{form}-{i}-{sides[0]}")
            for i in range(_COPIES)
            for sides in _SHAPES
        ]
        for form in (BASE, *OTHERS)
    }
    small = {form: random_matrix(form, *_SMALL, 0) for form in matrices}
    inputs: dict[tuple[int, int], NDArray[np.float32]] = {
        (rows, columns): np.random.default_rng(rows).standard_normal((rows, columns), np.float32)
        for rows in (ONE_ROW, MANY_ROWS)
        for _, columns in _SHAPES
    }
    times: dict[tuple[str, str, int], list[float]] = {}

    def timed(engine: Engine, form: str, rows: int, matrix: Matrix) -> None:
        x = inputs[rows, matrix.columns]
        start = time.perf_counter()
        engine.linear(x, matrix)
        times.setdefault((engine.variant, form, rows), []).append(time.perf_counter() - start)

    for _ in range(rounds):
        for engine in engines:
            for number in range(len(matrices[BASE])):
                for form in matrices:
                    timed(engine, form, ONE_ROW, matrices[form][number])
            for form in matrices:
                timed(engine, form, MANY_ROWS, small[form])
    return {key: statistics.mean(_quickest(seconds)) for key, seconds in times.items()}


def _mapped(matrix: Matrix, path: Path) -> Matrix:
    matrix.data.tofile(path)
    data = np.asarray(np.memmap(path, np.uint8, "r"))
    return Matrix(matrix.format, matrix.rows, matrix.columns, data)


def _quickest(seconds: list[float]) -> list[float]:
    return sorted(seconds)[: -(-len(seconds) // 4)]


def rows_of_report(times: Times) -> list[report.Row]:
    """What each format must reach, for each variant that was measured."""
    rows = []
    for variant in dict.fromkeys(variant for variant, _, _ in times):
        for form in OTHERS:
            one = times[variant, BASE, ONE_ROW] / times[variant, form, ONE_ROW]
            one *= _BLOCK_BYTES[form] / (_BLOCK_BYTES[BASE] * (8 if form == "q4k" else 1))
            many = times[variant, BASE, MANY_ROWS] / times[variant, form, MANY_ROWS]
            least = _LEAST_OF_MANY_ROWS[form]
            key, what = f"{form}_{variant}", f"{form} : q4, {variant}"
            rows += [
                report.Row(f"{key}_one", f"{what}, 1 row, bytes a second", ge, 0.95, "", one),
                report.Row(f"{key}_many", f"{what}, {MANY_ROWS} rows", ge, least, "", many),
            ]
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kernels.formats")
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--folder", help="where 900 MB may lie for the time of the run")
    options = parser.parse_args()
    os.sched_setaffinity(0, {options.core})
    print(machine.describe(options.core), flush=True)
    engines = [Engine(name, threads=1) for name in variants() if name != "portable"]
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        rows = rows_of_report(measure(engines, Path(folder), options.rounds))
    print(report.table(rows))
    print(json.dumps({"machine": machine.describe(options.core), **report.as_json(rows)}))


if __name__ == "__main__":
    main()

"""The kernels' matrix products at the shapes of a 7B, beside a plain read of the same bytes.

One thread, pinned to one core. Everything is measured in turn, round after round, and medians are
compared, so that what else the machine does hits all alike. The weights of a round were last
touched several hundred megabytes ago, so they come from memory. The last line is JSON.

    python benchmarks/kernel_speed.py
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kernels import Engine, Matrix, packed_bytes, variants

Array = NDArray[np.float32]

SHAPES = ((14336, 4096), (4096, 14336))  # w1 and w2 of a 7B
COPIES = 4  # 264 MB in q4: more than the caches of any machine that is meant
FEW_ROWS = (1, 2, 4, 8)
MANY_ROWS = 256


def main() -> None:
    options = _options()
    os.sched_setaffinity(0, {options.core})
    print(f"{_cpu_name()}, one thread on core {options.core}, {options.format}")
    matrices = [
        _random_matrix(options.format, *shape, seed) for seed in range(COPIES) for shape in SHAPES
    ]
    names = [name for name in variants() if name != "portable"] or ["portable"]
    engines = [Engine(name, threads=1) for name in names]
    times = _measure(engines, matrices, options.rounds)
    result = _report(times, matrices[0].data.nbytes, [e.variant for e in engines])
    print(json.dumps({"cpu": _cpu_name(), "format": options.format, **result}))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--format", choices=("q4", "q8"), default="q4")
    return parser.parse_args()


def _random_matrix(format: str, rows: int, columns: int, seed: int) -> Matrix:
    """Random quants with plausible scales: quick to make, and as hard to multiply as any."""
    generator = np.random.default_rng(seed)
    size = packed_bytes(format, rows, columns)
    block_bytes = 16 * 32 * size // (rows * columns)
    data = generator.integers(0, 256, size, np.uint8)
    data.reshape(-1, block_bytes)[:, :32] = np.full(16, 0.01, np.float16).view(np.uint8)
    return Matrix(format, rows, columns, data)


def _measure(
    engines: list[Engine], matrices: list[Matrix], rounds: int
) -> dict[tuple[str, int], list[float]]:
    """Seconds of one matrix, by what was done (a variant or ``read``) and rows."""
    times: dict[tuple[str, int], list[float]] = {}
    turn = 0

    def timed(name: str, rows: int, work: Callable[[Matrix], object]) -> None:
        nonlocal turn
        # Alternate both shapes and pass over all copies before one returns.
        for _ in SHAPES:
            matrix = matrices[turn % len(matrices)]
            turn += 1
            start = time.perf_counter()
            work(matrix)
            times.setdefault((name, rows), []).append(time.perf_counter() - start)

    inputs = {
        (rows, columns): np.random.default_rng(rows).standard_normal((rows, columns), np.float32)
        for rows in (*FEW_ROWS, MANY_ROWS)
        for _, columns in SHAPES
    }
    for number in range(rounds):
        timed("read", 1, _read)
        for engine in engines:
            for rows in FEW_ROWS if number % 5 else (*FEW_ROWS, MANY_ROWS):
                timed(engine.variant, rows, partial(_multiply, engine, inputs, rows))
    return times


def _multiply(
    engine: Engine, inputs: dict[tuple[int, int], Array], rows: int, matrix: Matrix
) -> object:
    return engine.linear(inputs[rows, matrix.columns], matrix)


def _read(matrix: Matrix) -> object:
    """The fastest plain read found: numpy's maximum of 32-bit words, in wide vectors."""
    return matrix.data.view(np.int32).max()


def _report(
    times: dict[tuple[str, int], list[float]], n_bytes: int, names: list[str]
) -> dict[str, object]:
    median = {key: statistics.median(values) for key, values in times.items()}
    read = median["read", 1]
    macs = SHAPES[0][0] * SHAPES[0][1]
    print(f"plain read {1e3 * read:.2f} ms, {n_bytes / read / 1e9:.1f} GB/s")
    result: dict[str, object] = {"read_gbps": round(n_bytes / read / 1e9, 2)}
    print("variant          1 row   2 rows   4 rows   8 rows   share of read   4:1   256 rows")
    for name in names:
        few = [1e3 * median[name, rows] for rows in FEW_ROWS]
        share, ratio = read / median[name, 1], median[name, 4] / median[name, 1]
        rate = MANY_ROWS * macs / median[name, MANY_ROWS] / 1e9
        cells = "".join(f"{value:6.2f} ms" for value in few)
        print(f"{name:13}{cells} {share:15.2f} {ratio:5.2f} {rate:5.0f} GMAC/s")
        result[name] = {
            "ms_of_1_2_4_8_rows": [round(value, 3) for value in few],
            "share_of_read": round(share, 3),
            "four_to_one": round(ratio, 3),
            "gmacs_of_256_rows": round(rate, 1),
        }
    return result


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


if __name__ == "__main__":
    main()

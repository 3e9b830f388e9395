"""Matrix products with few rows, beside a plain read of the same bytes.

Everything is measured in turn, round after round, and medians are compared, so that what else the
machine does hits all alike. The weights of a round were last touched several hundred megabytes
ago, so they come from memory.
"""

import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from benchmarks.kernels.layer_files import MATRICES, random_q4
from pi_cluster.kernels import Engine, Matrix

Array = NDArray[np.float32]

SHAPES = (MATRICES["w1"], MATRICES["w2"])
COPIES = 4  # 264 MB: more than the caches of any machine that is meant
FEW_ROWS = (1, 2, 4, 8)

Times = dict[tuple[str, int], float]
"""Median seconds of one matrix, by what was done (a variant or ``read``) and rows."""


def measure_few_rows(engines: list[Engine], rounds: int) -> Times:
    """Median times of each engine for each of ``FEW_ROWS``, and of a plain read."""
    matrices = [
        Matrix("q4", *sides, random_q4(*sides, i)) for i in range(COPIES) for sides in SHAPES
    ]
    inputs = {
        (rows, columns): np.random.default_rng(rows).standard_normal((rows, columns), np.float32)
        for rows in FEW_ROWS
        for _, columns in SHAPES
    }
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

    for _ in range(rounds):
        timed("read", 1, _read)
        for engine in engines:
            for rows in FEW_ROWS:
                timed(engine.variant, rows, partial(_multiply, engine, inputs, rows))
    return {key: statistics.median(values) for key, values in times.items()}


def _multiply(
    engine: Engine, inputs: dict[tuple[int, int], Array], rows: int, matrix: Matrix
) -> object:
    return engine.linear(inputs[rows, matrix.columns], matrix)


def _read(matrix: Matrix) -> object:
    """The fastest plain read found: numpy's maximum of 32-bit words, in wide vectors."""
    return matrix.data.view(np.int32).max()

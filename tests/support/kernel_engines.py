"""Engines of every variant that this machine has, and a comparison of results to the bit."""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pi_cluster.kernels import Engine, Matrix, unpack, variants

EVERY_VARIANT = variants()


@cache
def engine(variant: str = "portable", threads: int = 1) -> Engine:
    return Engine(variant, threads)


def assert_same_bits(got: NDArray[Any], expected: NDArray[Any]) -> None:
    """Every NaN is the same to us: its sign and payload differ between processors."""
    assert got.dtype == expected.dtype and got.shape == expected.shape
    both_nan = np.isnan(got) & np.isnan(expected) if got.dtype.kind == "f" else False
    differs = (got.view(f"u{got.itemsize}") != expected.view(f"u{got.itemsize}")) & ~both_nan
    assert not differs.any(), f"{differs.sum()} of {differs.size} differ"


def random(seed: int, *shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def packed(seed: int, rows: int, columns: int, format: str) -> tuple[Matrix, NDArray[np.float32]]:
    """A random matrix and the values that its format keeps of it."""
    matrix = engine().pack(random(seed, rows, columns) / np.float32(columns**0.5), format)
    return matrix, unpack(matrix)

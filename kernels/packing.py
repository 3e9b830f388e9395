"""Who quantises weights: the compiled library, or numpy where an installation has none."""

import contextlib
from collections.abc import Iterator
from typing import Any, Protocol

from numpy.typing import NDArray

from pi_cluster.kernels import numpy_packing
from pi_cluster.kernels.cores import usable_cores
from pi_cluster.kernels.engine import Array, Engine
from pi_cluster.kernels.library import is_installed
from pi_cluster.kernels.matrix import Matrix, importance_within_blocks, packable


class Packer(Protocol):
    """What cutting up a model asks of the kernels."""

    def pack(self, weights: NDArray[Any], format: str, importance: Array | None = None) -> Matrix:
        """As ``Engine.pack``."""


class NumpyPacker:
    """Packs as ``Engine`` does, to the same bytes, some twenty times slower."""

    def __init__(self, threads: int | None = None) -> None:
        self._threads = threads or usable_cores()

    def pack(self, weights: NDArray[Any], format: str, importance: Array | None = None) -> Matrix:
        """As ``Engine.pack``."""
        source = packable(weights, format)
        if isinstance(source, Matrix):
            return source
        rows, columns = source.shape
        parts = importance_within_blocks(importance, columns)
        data = numpy_packing.packed(source, format, self._threads, parts)
        return Matrix(format, rows, columns, data)


@contextlib.contextmanager
def packer(variant: str | None = None) -> Iterator[Packer]:
    """An engine; numpy where the library was not installed and no variant of it is asked for.

    Raises ``KernelsError`` where the library is there and cannot be used.
    """
    if variant is None and not is_installed():
        yield NumpyPacker()
        return
    with Engine(variant) as engine:
        yield engine

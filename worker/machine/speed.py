"""How fast this node computes: measured with its own kernels and threads, once."""

import itertools
import mmap
import os
import statistics
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pi_cluster.cluster.errors import PipelineBusy
from pi_cluster.cluster.heat import is_slowed_now
from pi_cluster.cluster.speed import NodeProfile, Speed
from pi_cluster.kernels import BLOCK_COLUMNS, GROUP_ROWS, Engine, Matrix, packed_bytes
from pi_cluster.worker.identity import MeasuredWith, NodeFile, save_identity
from pi_cluster.worker.machine import board
from pi_cluster.worker.machine.system_files import ROOT

_WEIGHTS = "q4n"  # most matrices of most stores
_LARGE = 16_384, 7_168  # 66 MB, some thirty times the caches of a Pi
_COPIES = 2
_SIDE = 4_096  # a smaller matrix does for many rows, where arithmetic is what takes long
_MANY_ROWS = 64  # a chunk of a prompt
_ENOUGH_S = 0.3  # for each of up to four figures; a slow node makes few trials, a Pi 4 some ten
_PATTERN_BLOCKS = 1_024
_SCALE = 0.004

Bytes = NDArray[np.uint8]


class ProfileKeeper:
    """This node's profile: from its data directory, or measured when it is first asked for.

    What is measured while the firmware slows the processor holds for so long, and is not stored:
    a node is slow for its heat for an hour, and its profile lasts for ever.
    """

    def __init__(
        self, data_dir: Path, identity: NodeFile, engine: Engine, root: Path = ROOT
    ) -> None:
        """``root`` holds ``sys``."""
        self._data_dir = data_dir
        self._identity = identity
        self._engine = engine
        self._root = root
        self._slowed: NodeProfile | None = None
        self._measuring = threading.Lock()

    @property
    def stored(self) -> NodeProfile | None:
        """What was measured with the kernels and threads of now, or None."""
        identity = self._identity
        return identity.profile if identity.measured_with == self._with else None

    def profile(self, alone: Callable[[], AbstractContextManager[None]]) -> NodeProfile:
        """The stored profile, or one that is measured within ``alone()`` and stored."""
        with self._measuring:
            if self.stored:
                return self.stored
            if self._slowed and self._is_slowed:
                return self._slowed
            try:
                return self._measure(alone)
            except PipelineBusy:
                if self._slowed is None:
                    raise
                return self._slowed  # the best that is known, until nobody computes

    def _measure(self, alone: Callable[[], AbstractContextManager[None]]) -> NodeProfile:
        with alone():
            was_slowed = self._is_slowed
            profile = measure_profile(self._engine)
        if was_slowed or self._is_slowed:
            self._slowed = profile
        else:
            self._identity = NodeFile(self._identity.node_id, profile, self._with)
            save_identity(self._data_dir, self._identity)
        return profile

    @property
    def _is_slowed(self) -> bool:
        return is_slowed_now(board.throttled(self._root))

    @property
    def _with(self) -> MeasuredWith:
        return MeasuredWith(self._engine.variant, self._engine.threads)


def measure_profile(engine: Engine) -> NodeProfile:
    """Measure for about a second; takes 132 MB of memory and gives them back.

    What the whole machine reaches is measured with a thread for each core, unless the engine has
    as many, or this process may not use all cores: then the others are taken to be as fast.
    """
    weights = [_random_weights() for _ in range(_COPIES)]
    alone = _measure(engine, weights)
    cores = os.cpu_count() or 1
    if engine.threads >= cores:
        return NodeProfile(alone, alone)
    if len(os.sched_getaffinity(0)) < cores:
        times = cores / engine.threads
        return NodeProfile(alone, Speed(alone.read_bytes_ps * times, alone.macs_ps * times))
    with Engine(engine.variant, cores) as every_core:
        machine = _measure(every_core, weights)
    # A noisy moment must not make the whole slower than its part.
    read_bytes_ps = max(alone.read_bytes_ps, machine.read_bytes_ps)
    return NodeProfile(alone, Speed(read_bytes_ps, max(alone.macs_ps, machine.macs_ps)))


def _random_weights() -> Bytes:
    """The bytes of a large matrix, in pages of the size that mapped shards have."""
    # Memory from numpy may lie in huge pages, which are faster to read than files.
    data = np.frombuffer(mmap.mmap(-1, packed_bytes(_WEIGHTS, *_LARGE)), np.uint8)
    block_bytes = packed_bytes(_WEIGHTS, GROUP_ROWS, BLOCK_COLUMNS)
    blocks = data.reshape(-1, block_bytes)
    pattern = np.random.default_rng(0).integers(0, 256, (_PATTERN_BLOCKS, block_bytes), np.uint8)
    pattern[:, : 2 * GROUP_ROWS] = np.full(GROUP_ROWS, _SCALE, np.float16).view(np.uint8)
    for start in range(0, len(blocks), _PATTERN_BLOCKS):
        part = blocks[start : start + _PATTERN_BLOCKS]
        part[:] = pattern[: len(part)]
    return data


def _measure(engine: Engine, weights: list[Bytes]) -> Speed:
    large = [Matrix(_WEIGHTS, *_LARGE, data) for data in weights]
    read_s = _median_s(engine, large, 1)
    # The parts in turn: what was multiplied last time has left the caches.
    size = packed_bytes(_WEIGHTS, _SIDE, _SIDE)
    parts = [
        Matrix(_WEIGHTS, _SIDE, _SIDE, data[start : start + size])
        for data in weights
        for start in range(0, len(data) - size + 1, size)
    ]
    many_s = _median_s(engine, parts, _MANY_ROWS)
    return Speed(len(weights[0]) / read_s, _MANY_ROWS * _SIDE * _SIDE / many_s)


def _median_s(engine: Engine, matrices: list[Matrix], rows: int) -> float:
    """Median seconds of one product, matrix after matrix; a first one does not count."""
    x = np.random.default_rng(rows).standard_normal((rows, matrices[0].columns), np.float32)
    engine.linear(x, matrices[-1])
    times: list[float] = []
    began = time.perf_counter()
    for matrix in itertools.cycle(matrices):
        start = time.perf_counter()
        engine.linear(x, matrix)
        times.append(time.perf_counter() - start)
        if time.perf_counter() - began > _ENOUGH_S:
            break
    return statistics.median(times)

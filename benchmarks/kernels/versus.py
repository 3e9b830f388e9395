"""Ours and the peer's in turn: the product of 256 rows, and a stage.

Of the peer's ways to do a thing the fastest is taken, for each kind of work by itself. Both
compute from the same weights and the same inputs, and what they compute must agree.
"""

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.kernels.layer_files import MATRICES, NORM_EPS, map_layer
from benchmarks.kernels.peer_process import PeerProcess
from benchmarks.kernels.stage import Array, Text, open_stage
from pi_cluster.kernels import Engine, Matrix

MANY_ROWS = 256
EARLY, LATE = 100, 4000
PREFILL_ROWS, PREFILL_TRIAL_ROWS = 512, 64
_STEPS = 3
_SAME = 0.999  # cosine of outputs whose activations were rounded to 8 bits in blocks of 32


@dataclass(frozen=True, slots=True)
class Pair:
    """Median seconds of both; without a peer only ours."""

    ours: float
    peer: float | None
    way: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times as fast as the peer."""
        return self.peer / self.ours if self.peer else None


def compare_product(engine: Engine, folder: Path, peer: PeerProcess | None, rounds: int) -> Pair:
    """w1 times 256 rows; quantising the rows is part of it on both sides."""
    weight = Matrix("q4", *MATRICES["w1"], map_layer(folder, 0)["w1"])
    x = np.random.default_rng(MANY_ROWS).standard_normal((MANY_ROWS, weight.columns), np.float32)
    corner: list[Array] = []

    def ours() -> list[float]:
        start = perf_counter()
        out = engine.linear(x, weight)
        corner[:] = [out[:4, :8].copy()]
        return [perf_counter() - start]

    def theirs(way: str) -> list[float]:
        assert peer is not None
        answer = peer.ask("product", way=way)
        _check_same("the product", corner[0], np.array(answer["sample"]))
        return [answer["seconds"]]

    ours()
    ways = peer.ask("open_products", rows=MANY_ROWS)["ways"] if peer else []
    return in_turn(ours, theirs, fastest(ways, theirs), rounds)


def compare_stage(
    engine: Engine, folder: Path, peer: PeerProcess | None, rounds: int
) -> dict[str, Pair]:
    """Decode early and late, and prefill, by name."""
    stage = open_stage(engine, folder)
    texts = {EARLY: Text(stage, EARLY), LATE: Text(stage, LATE), 0: Text(stage)}
    ways = peer.ask("open_stage")["ways"] if peer else []

    def decode(position: int) -> Pair:
        def ours() -> list[float]:
            return [texts[position].step(1, position)[0] for _ in range(_STEPS)]

        def theirs(way: str) -> list[float]:
            return _seconds(peer, "decode", way=way, position=position, steps=_STEPS)

        ours()
        return in_turn(ours, theirs, fastest(ways, theirs), rounds)

    def prefill() -> Pair:
        def trial(way: str) -> list[float]:
            assert peer is not None
            answer = peer.ask("prefill", way=way, rows=PREFILL_TRIAL_ROWS)
            last = texts[0].step(PREFILL_TRIAL_ROWS, 0)[1][-1]
            scale = np.sqrt(np.mean(last * last) + NORM_EPS)
            _check_same("the stage", last / scale, np.array(answer["sample"]))
            return [answer["seconds"]]

        def ours() -> list[float]:
            return [texts[0].step(PREFILL_ROWS, 0)[0]]

        def theirs(way: str) -> list[float]:
            assert peer is not None
            return [peer.ask("prefill", way=way, rows=PREFILL_ROWS)["seconds"]]

        ours()
        return in_turn(ours, theirs, fastest(ways, trial), max(3, rounds // 5))

    return {"decode early": decode(EARLY), "decode late": decode(LATE), "prefill": prefill()}


def _seconds(peer: PeerProcess | None, do: str, **values: Any) -> list[float]:
    assert peer is not None
    seconds: list[float] = peer.ask(do, **values)["seconds"]
    return seconds


def fastest(ways: list[str], theirs: Callable[[str], list[float]]) -> str:
    """The way of the least time, after each has been tried twice."""
    times: dict[str, float] = {}
    for way in ways * 2:
        times[way] = min(*theirs(way), times.get(way, np.inf))
    return min(times, key=lambda way: times[way]) if times else ""


def in_turn(
    ours: Callable[[], list[float]], theirs: Callable[[str], list[float]], way: str, rounds: int
) -> Pair:
    """Medians over rounds in which both do their work once; without ``way`` only ours."""
    mine: list[float] = []
    others: list[float] = []
    for _ in range(rounds):
        mine += ours()
        if way:
            others += theirs(way)
    return Pair(statistics.median(mine), statistics.median(others) if way else None, way)


def _check_same(what: str, ours: Array, theirs: Array) -> None:
    cosine = np.vdot(ours, theirs) / (np.linalg.norm(ours) * np.linalg.norm(theirs))
    if not cosine > _SAME:
        raise ValueError(f"{what} of the peer differs from ours (cosine {cosine:.4f}): no contest")

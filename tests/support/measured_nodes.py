"""Nodes that were measured before, as all are but new ones: it takes each of them seconds.

The tests that are about it, and what a newcomer sees, use nodes that were not.
"""

import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

from pi_cluster.cluster.speed import NodeProfile, Speed
from pi_cluster.kernels import variants
from pi_cluster.worker.identity import MeasuredWith, NodeFile, save_identity


def remember_speed(
    data_dir: Path, threads: int, env: Mapping[str, str], slowness: float = 1.0
) -> None:
    """Give a new data directory an identity with a profile for these threads; others stay."""
    if (data_dir / "node.json").exists():
        return
    data_dir.mkdir(parents=True, exist_ok=True)
    profile = NodeProfile(_speed(threads / slowness), _speed(max(threads, _cores()) / slowness))
    kernels = env.get("PI_CLUSTER_KERNELS") or variants()[0]
    identity = NodeFile(secrets.token_hex(6), profile, MeasuredWith(kernels, threads))
    save_identity(data_dir, identity)


def remember_speeds(data_dirs: Sequence[Path], env: Mapping[str, str]) -> None:
    """As :func:`remember_speed`, for workers that share the cores of this machine."""
    for data_dir in data_dirs:
        remember_speed(data_dir, max(1, _cores() // len(data_dirs)), env)


def remember_speed_by_hand(data_dir: Path, words: Sequence[str], env: Mapping[str, str]) -> None:
    """As :func:`remember_speed`, for a worker that is started with these words."""
    threads = int(words[words.index("--threads") + 1]) if "--threads" in words else _cores()
    remember_speed(data_dir, threads, env)


def _speed(threads: float) -> Speed:
    """What one core of a machine on which tests run does, times the threads."""
    return Speed(threads * 5e9, threads * 50e9)


def _cores() -> int:
    return len(os.sched_getaffinity(0))

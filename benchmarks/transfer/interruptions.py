"""A hand-out that is interrupted at random, and how many bytes reach the node all the same."""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from benchmarks.json_process import ROOT
from benchmarks.transfer.certificates import certify, make_authority
from benchmarks.transfer.proxy import Proxy
from benchmarks.workers import Worker, worker
from pi_cluster.cluster.store.store import Store

_POLL_S = 0.005
_SOME = 0.005  # of the size, that arrives between two interruptions


class Interruption(Enum):
    """What may happen in the middle of a transfer."""

    CONNECTION_CUT = "the connection is cut"
    WORKER_KILLED = "the worker is killed and started again"
    OPERATOR_KILLED = "the operator is killed and runs the command again"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a hand-out went."""

    size_bytes: int
    arrived_bytes: int
    """At the node's port, with all that the protocol adds."""
    interruptions: tuple[Interruption, ...]
    seconds: float

    @property
    def sent_again(self) -> float:
        """Share of the size that travelled more than once."""
        return self.arrived_bytes / self.size_bytes - 1


class HandOutFailed(Exception):
    """The node did not get everything; the message has the operator's last words."""


def interrupted_hand_out(
    store: Store, folder: Path, times: int, bytes_per_s: float, seed: int, patience_s: float
) -> Outcome:
    """Hand a store out to one worker over a link of so many bytes a second.

    Raises ``HandOutFailed``, also when it takes longer than ``patience_s``.
    """
    chance = random.Random(seed)  # noqa: S311
    size = store.manifest.size_bytes
    moments = sorted(chance.uniform(0.02, 0.9) * size for _ in range(times))
    kinds = [list(Interruption)[n % len(Interruption)] for n in range(times)]
    chance.shuffle(kinds)
    began = time.monotonic()
    with _Scene(store, folder, bytes_per_s) as scene:
        for moment, kind in zip(moments, kinds, strict=True):
            # In the middle of a transfer, not while one begins: then people see an error.
            moment = max(moment, scene.proxy.arrived_bytes + _SOME * size)
            while scene.proxy.arrived_bytes < moment:
                _check_time(began, patience_s)
                if scene.has_ended():
                    raise HandOutFailed("it ended before all interruptions")
                time.sleep(_POLL_S)
            scene.interrupt(kind)
        while not scene.has_ended():
            _check_time(began, patience_s)
            time.sleep(_POLL_S)
        arrived = scene.proxy.arrived_bytes
    return Outcome(size, arrived, tuple(kinds), time.monotonic() - began)


def _check_time(began: float, patience_s: float) -> None:
    if time.monotonic() - began > patience_s:
        raise HandOutFailed(f"it has not ended after {patience_s} s")


class _Scene:
    """A worker, a proxy before it, and an operator who hands out the store."""

    def __init__(self, store: Store, folder: Path, bytes_per_s: float) -> None:
        self._store = store
        self._folder = folder
        self._bytes_per_s = bytes_per_s
        self._stack = ExitStack()
        self._worker: Worker
        self._worker_stack = ExitStack()
        self._operator: subprocess.Popen[str]
        self.proxy: Proxy

    def __enter__(self) -> "_Scene":
        self._stack.callback(lambda: self._worker_stack.close())
        certify(make_authority(self._folder / "authority"), self._folder / "worker")
        self._start_worker("127.0.0.1:0")
        self.proxy = self._stack.enter_context(Proxy(self._worker.address, self._bytes_per_s))
        self._start_operator()
        self._stack.callback(lambda: self._end_operator())
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def has_ended(self) -> bool:
        """Whether the node has everything. Raises ``HandOutFailed`` if the operator gave up."""
        if self._operator.poll() is None:
            return False
        if self._operator.returncode:
            assert self._operator.stderr is not None
            raise HandOutFailed(self._operator.stderr.read().strip().splitlines()[-1])
        return True

    def interrupt(self, kind: Interruption) -> None:
        if kind is Interruption.CONNECTION_CUT:
            self.proxy.cut()
        elif kind is Interruption.WORKER_KILLED:
            os.kill(self._worker.process_id, signal.SIGKILL)
            self._worker_stack.close()
            self._start_worker(self._worker.address)
        else:
            self._end_operator()
            self._start_operator()

    def _start_worker(self, address: str) -> None:
        self._worker_stack = ExitStack()
        folder = self._folder / "worker"
        self._worker = self._worker_stack.enter_context(worker(folder, listen=address))

    def _start_operator(self) -> None:
        command = [sys.executable, "-m", "benchmarks.transfer.operator", str(self._store.path)]
        command += [str(self._folder / "authority"), self.proxy.address]
        pipe = subprocess.PIPE
        self._operator = subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True)
        # What the killed one sent may still be arriving; this one is to be in the middle as well.
        assert self._operator.stdout is not None
        self._operator.stdout.readline()

    def _end_operator(self) -> None:
        self._operator.kill()
        self._operator.communicate()

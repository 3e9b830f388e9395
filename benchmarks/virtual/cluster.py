"""A virtual cluster on this machine: workers in the hosts of an emulated network."""

import itertools
import json
import subprocess
import sys
import tempfile
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.virtual.measure import Job, Request, Speed
from benchmarks.virtual.mistral import CONFIG
from benchmarks.virtual.pis import BOARDS, Board
from pi_cluster.transformer.config_form import plain_config
from tests.testbed.network.network import Network

ROOT = Path(__file__).parents[2]
_PORT = 7711


@dataclass(frozen=True, slots=True)
class Experiment:
    """A job, and the virtual cluster that does it. One node has memory without end."""

    board: str
    nodes: int
    network: str
    job: Job


class ExperimentError(Exception):
    """A process of an experiment failed, after telling why on standard error."""


def run(experiment: Experiment, stopping: threading.Event) -> Speed:
    """Do an experiment, or give up as soon as ``stopping`` is set."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        scripts, request = folder / "scripts.json", folder / "request.json"
        scripts.write_text(json.dumps(experiment.job.scripts))
        # The operator's computer is host 0.
        network = stack.enter_context(Network(1 + experiment.nodes, experiment.network))
        hosts = range(1, 1 + experiment.nodes)
        workers = [_worker(network, host, BOARDS[experiment.board], scripts) for host in hosts]
        addresses = tuple(map(ready_address, workers))
        split = split_layers(CONFIG.n_layers, experiment.nodes)
        request.write_text(
            Request(experiment.job, plain_config(CONFIG), addresses, split).to_json()
        )
        command = [sys.executable, "-m", "benchmarks.virtual.measure", str(request)]
        coordinator = network.popen(0, command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        while True:
            try:
                output, _ = coordinator.communicate(timeout=0.5)
                break
            except subprocess.TimeoutExpired:
                if stopping.is_set():
                    raise ExperimentError("interrupted") from None
        if coordinator.returncode:
            raise ExperimentError(f"the coordinator ended with {coordinator.returncode}")
        return Speed(**json.loads(output))


def split_layers(layers: int, nodes: int) -> tuple[tuple[int, int], ...]:
    """As many layers for each node, since they are alike."""
    bounds = [layers * node // nodes for node in range(nodes + 1)]
    return tuple(itertools.pairwise(bounds))


def _worker(network: Network, host: int, board: Board, scripts: Path) -> "subprocess.Popen[str]":
    command = worker_command(f"{network.address(host)}:{_PORT}", board, scripts)
    pipe = subprocess.PIPE
    return network.popen(host, command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True)


def worker_command(address: str, board: Board, scripts: Path) -> list[str]:
    """What starts a virtual worker of this kind."""
    constants = map(str, (board.bandwidth, board.rate, board.slowness))
    return [sys.executable, "-m", "benchmarks.virtual.worker", address, *constants, str(scripts)]


def ready_address(worker: "subprocess.Popen[str]") -> str:
    """Where a worker says that it answers calls. Raises ``ExperimentError`` if it ends instead."""
    assert worker.stdout is not None
    words = worker.stdout.readline().split()
    if words[:1] != ["ready"]:
        raise ExperimentError("a worker did not start")
    return words[1]

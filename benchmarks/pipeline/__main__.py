"""Pipelines of real workers against what they must reach. ``make bench-pipeline``.

    python -m benchmarks.pipeline [--peer-python PYTHON] [--rounds N] [--folder DIR] [--overhead]

Workers of one kernel thread, pinned to a core each, hold 8 layers of Mistral 7B's shape with random
weights: two share them, a third has them all. The coordinator is a process of its own on any core,
so next to the single worker it computes on the idle one, and next to two it takes its time from
them. Whatever is compared takes turns, the others waiting; ratios are those of medians within the
run. Sampling is greedy, and nothing is guessed ahead. Nothing else should be running.

The same two workers are measured on an emulated network of 100 Mbit/s and 3 ms from host to host,
for which root, gcc and ``nsenter`` are needed. The peer is llama.cpp in one process with one
thread: ``benchmarks/kernels/__main__.py`` says how to build it. What is missing is said in the
table. Needs two cores, takes about six minutes and 6 GB in DIR. Prints a table and, last, JSON.

With ``--overhead`` only the embedded model is asked, which takes half a minute and no room.
"""

import argparse
import contextlib
import functools
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.json_process import JsonProcess
from benchmarks.kernels import machine
from benchmarks.kernels.layer_files import N_LAYERS, write_layers
from benchmarks.kernels.layer_store import write_store
from benchmarks.kernels.peer_process import PeerError, PeerProcess
from benchmarks.kernels.report import Row, as_json, table
from benchmarks.kernels.versus import EARLY, PREFILL_ROWS, Pair
from benchmarks.pipeline import comparisons
from benchmarks.pipeline.comparisons import ONE, SMALL, TWO, Peer
from benchmarks.workers import worker
from pi_cluster.deploy.embedded import embedded_store
from tests.testbed.network.network import Network, NetworkError

_HALVES = [0, N_LAYERS // 2, N_LAYERS]
_EMBEDDED_CUTS = [0, 11, 22, 32]
_WIFI = "fe100"
_COORDINATOR = [sys.executable, "-m", "benchmarks.pipeline.coordinator"]
_PORT = 7711


def main() -> None:
    """Measure and print."""
    options = _options()
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        sys.exit("benchmarks.pipeline: two workers need two cores")
    described = f"{machine.describe(cores[-1])} a worker, core {cores[0]} for the other"
    print(described, flush=True)
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        if options.overhead:
            rows = [_overhead(Path(name), options.rounds)]
        else:
            rows = _measure(Path(name), cores, options)
    print(table(rows))
    print(json.dumps({"machine": described, **as_json(rows)}))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pipeline")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--folder", help="where 6 GB may lie for the time of the run")
    parser.add_argument("--overhead", action="store_true", help="coordinator and network alone")
    parser.add_argument("--peer-python", default=sys.executable, help="a Python with the peer")
    return parser.parse_args()


def _measure(folder: Path, cores: Sequence[int], options: argparse.Namespace) -> list[Row]:
    _say("writing the layers ...")
    write_layers(folder)
    store = folder / "store"
    write_store(store, folder, range(N_LAYERS))
    rounds = options.rounds
    with _peer(options.peer_python, folder, cores[-1]) as peer:
        with _on_loopback(folder, store, cores) as coordinator:
            _say("users on two workers and on one ...")
            users = comparisons.compare_users(coordinator, rounds // 2)
            _say("one user and the peer ...")
            decode = comparisons.compare_decode(coordinator, peer, rounds)
            _say("a prompt and the peer ...")
            prefill = comparisons.compare_prefill(coordinator, peer, max(3, rounds // 4))
        _say("one user on the emulated network and the peer ...")
        wifi, reason = _decode_on_wifi(folder, store, cores, peer, rounds)
    on_two = f"2 workers, 1 user, decode at {EARLY}"
    emulated = f"{on_two}, emulated network of 100 Mbit/s and 3 ms : llama.cpp, no network"
    prompt = f"2 workers, prefill of {PREFILL_ROWS} : llama.cpp"
    return [
        comparisons.users_row(users),
        comparisons.peer_row("decode", f"{on_two} : llama.cpp", 1.5, decode, peer.reason),
        comparisons.peer_row("wifi", emulated, 1.4, wifi, reason or peer.reason),
        comparisons.peer_row("prefill", prompt, 4.0, prefill, peer.reason),
        _overhead(folder, rounds),
    ]


def _overhead(folder: Path, rounds: int) -> Row:
    _say("the embedded model ...")
    with _embedded(folder) as coordinator:
        seconds = comparisons.measure_overhead(coordinator, max(3, rounds // 4))
    return comparisons.overhead_row(seconds)


@contextlib.contextmanager
def _peer(python: str, folder: Path, core: int) -> Iterator[Peer]:
    with contextlib.ExitStack() as stack:
        try:
            _say("the peer loads the layers ...")
            peer = Peer.opened(stack.enter_context(PeerProcess(python, folder, core)))
        except PeerError as error:
            peer = Peer(None, [], str(error))
        yield peer


@contextlib.contextmanager
def _on_loopback(folder: Path, store: Path, cores: Sequence[int]) -> Iterator[JsonProcess]:
    """A coordinator that has two workers with half of the layers each, and one with all."""
    with contextlib.ExitStack() as stack:
        halves = [
            stack.enter_context(worker(folder / f"half-{core}", core=core)).address
            for core in cores
        ]
        whole = stack.enter_context(worker(folder / "whole", core=cores[-1])).address
        coordinator = stack.enter_context(JsonProcess(_COORDINATOR, folder / "loopback.log"))
        coordinator.ask("open", name=TWO, store=str(store), addresses=halves, bounds=_HALVES)
        coordinator.ask("open", name=ONE, store=str(store), addresses=[whole], bounds=[0, N_LAYERS])
        yield coordinator


def _decode_on_wifi(
    folder: Path, store: Path, cores: Sequence[int], peer: Peer, rounds: int
) -> tuple[Pair | None, str]:
    """The times, or why there are none. The workers have their shards since they ran before."""
    try:
        with contextlib.ExitStack() as stack:
            network = stack.enter_context(Network(1 + len(cores), _WIFI))
            halves = [
                stack.enter_context(
                    worker(
                        folder / f"half-{core}",
                        core=core,
                        listen=f"{network.address(host)}:{_PORT}",
                        popen=functools.partial(network.popen, host),
                    )
                ).address
                for host, core in enumerate(cores, 1)
            ]
            coordinator = stack.enter_context(
                JsonProcess(_COORDINATOR, folder / "wifi.log", functools.partial(network.popen, 0))
            )
            coordinator.ask("open", name=TWO, store=str(store), addresses=halves, bounds=_HALVES)
            return comparisons.compare_decode(coordinator, peer, rounds), ""
    except NetworkError as error:
        return None, f"not measured: {error}"


@contextlib.contextmanager
def _embedded(folder: Path) -> Iterator[JsonProcess]:
    """A coordinator that has the embedded model on three workers, on any cores."""
    with contextlib.ExitStack() as stack:
        addresses = [
            stack.enter_context(worker(folder / f"embedded-{number}")).address
            for number in range(len(_EMBEDDED_CUTS) - 1)
        ]
        coordinator = stack.enter_context(JsonProcess(_COORDINATOR, folder / "embedded.log"))
        store = str(embedded_store())
        coordinator.ask("open", name=SMALL, store=store, addresses=addresses, bounds=_EMBEDDED_CUTS)
        yield coordinator


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()

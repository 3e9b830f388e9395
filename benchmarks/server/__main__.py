"""What the server costs beside the library, and how soon it answers when it is busy.

    python -m benchmarks.server [--rounds 7] [--tokens 256]

The embedded model on three local workers. The same questions are asked of a server, by a reader
that parses nothing, and by the library in a process of its own, in turn; of both processes the
processor time (user and system) is taken, and its median for each token. What a server does for a
request once, such as reading it, counts too. The time to the first byte of a stream is taken while
31 others run. Prints a table and, as the last line, JSON.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import psutil

from benchmarks.json_process import JsonProcess
from benchmarks.kernels.machine import cpu_name
from benchmarks.server.request import PROMPTS, stream, stream_all
from benchmarks.server.serving import Served, served
from pi_cluster.deploy.asking.exclusive import server_held

_WORKERS, _MOST_STREAMS = 3, 32
_PATIENCE_S = 60.0
_STREAMS = (1, 8, _MOST_STREAMS)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.server")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tokens", type=int, default=256)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, served(Path(name), _WORKERS, 32) as server:
        words = [sys.executable, "-m", "benchmarks.server.library", server.cluster]
        with JsonProcess(words, Path(name) / "library.log") as library:
            costs = {n: _costs(server, library, n, options) for n in _STREAMS}
        first_ms = asyncio.run(_first_bytes(server, options.rounds))
    _print(costs, first_ms, options.rounds)


def _costs(
    server: Served, library: JsonProcess, streams: int, options: argparse.Namespace
) -> tuple[float, float]:
    """Milliseconds of processor a token: the server's, and the library's."""
    by_server, by_library = [], []
    process = psutil.Process(server.process_id)
    for round_ in range(options.rounds + 1):
        before_s = _cpu_s(process)
        asyncio.run(stream_all(server.port, streams, options.tokens))
        spent_s = _cpu_s(process) - before_s
        with server_held(server.cluster, _PATIENCE_S):  # else it would keep the pipeline
            told = library.ask("answer", streams=streams, tokens=options.tokens)
        if round_:  # the first one warms up
            by_server.append(1000 * spent_s / told["tokens"])
            by_library.append(1000 * told["cpu_s"] / told["tokens"])
    return statistics.median(by_server), statistics.median(by_library)


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


async def _first_bytes(server: Served, rounds: int) -> list[float]:
    """Milliseconds to the first byte of a stream beside 31 others."""
    begun = [asyncio.Event() for _ in range(_MOST_STREAMS - 1)]
    others = [
        asyncio.create_task(stream(server.port, PROMPTS[0], 2000, event.set)) for event in begun
    ]
    for event in begun:
        await event.wait()
    found = []
    for number in range(rounds):
        one = await stream(server.port, f"{PROMPTS[1]} {number}", 4)
        assert not any(task.done() for task in others)
        found.append(1000 * one.first_byte_s)
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    return found


def _print(costs: dict[int, tuple[float, float]], first_ms: Sequence[float], rounds: int) -> None:
    machine = f"{cpu_name()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"{machine}; medians of {rounds} rounds, processor ms for each token")
    print("| streams | server | library | beside it |")
    print("| ---: | ---: | ---: | ---: |")
    for streams, (server, library) in costs.items():
        print(f"| {streams} | {server:.3f} | {library:.3f} | {server - library:+.3f} |")
    median, most = statistics.median(first_ms), max(first_ms)
    print(f"first byte beside {_MOST_STREAMS - 1} streams: {median:.1f} ms, at most {most:.1f} ms")
    values = {str(n): {"server_ms": s, "library_ms": li} for n, (s, li) in costs.items()}
    print(json.dumps({"machine": machine, "tokens": values, "first_byte_ms": list(first_ms)}))


if __name__ == "__main__":
    main()

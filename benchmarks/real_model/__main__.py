"""A real model's tokens per second on one worker, beside llama.cpp's.

    python -m benchmarks.real_model [--peer-python PYTHON] [--peer-avx2-python PYTHON] [--rounds N]

``make bench-real`` runs it. The model is SmolLM2-135M-Instruct, from one GGUF on both sides. Ours
is a real worker with one kernel thread, pinned to a core, asked over gRPC by a coordinator on
another. llama.cpp computes in one process with one thread, pinned to the same core, in the fastest
of its ways. Whoever does not compute waits. Sampling is greedy, and nothing is guessed ahead.
Figures are medians of one interleaved run. Nothing else should be running.

``benchmarks/kernels/__main__.py`` says how to build the peer. On a machine with AVX-512 both are
measured with AVX2 as well, against a peer that was built for that alone: in another Python, with
``-DGGML_NATIVE=OFF -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON -DGGML_BMI2=ON -DGGML_AVX512=OFF``
and pip's ``--no-cache-dir``. Needs two cores, takes about five minutes. Prints a table and, last,
JSON.
"""

import argparse
import contextlib
import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import ge
from pathlib import Path

from benchmarks.json_process import JsonProcess
from benchmarks.kernels import machine
from benchmarks.kernels.peer_process import PeerError, PeerProcess
from benchmarks.kernels.report import Row, as_json, table
from benchmarks.kernels.versus import Pair, fastest, in_turn
from benchmarks.real_model.published import NotFetched
from benchmarks.real_model.quality import PEER
from benchmarks.real_model.smollm2 import gguf_path
from benchmarks.real_model.store import shard_into
from benchmarks.workers import worker
from pi_cluster.cluster.store.store import Store
from pi_cluster.kernels import Engine, variants

PROMPT_TOKENS, AFTER_TOKENS, TOKENS = 512, 64, 128
_SETTLED = 4  # tokens after which a text's pace counts
_COORDINATOR = [sys.executable, "-m", "benchmarks.pipeline.coordinator"]


@dataclass(frozen=True, slots=True)
class Contest:
    """Ours with one variant of the kernels, and a peer that was built for the same processor."""

    variant: str
    peer_python: str


def main() -> None:
    """Measure and print."""
    options = _options()
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        sys.exit("benchmarks.real_model: a worker and its coordinator need two cores")
    described = machine.describe(cores[-1])
    print(described, flush=True)
    # The coordinator inherits it.
    os.sched_setaffinity(0, cores[:1])
    rows = []
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        try:
            gguf = gguf_path()
        except NotFetched as error:
            sys.exit(f"benchmarks.real_model: {error}")
        with Engine(None) as engine:
            shard_into(Path(name) / "store", gguf, engine)
        for contest in _contests(options):
            folder = Path(name) / contest.variant
            folder.mkdir()
            rows += _measure(contest, folder, Path(name) / "store", gguf, cores[-1], options.rounds)
    print(table(rows))
    print(json.dumps({"machine": described, **as_json(rows)}))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.real_model")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--folder", help="where 300 MB may lie for the time of the run")
    parser.add_argument("--peer-python", default=sys.executable, help="a Python with the peer")
    parser.add_argument("--peer-avx2-python", help="one whose peer was built for AVX2 alone")
    return parser.parse_args()


def _contests(options: argparse.Namespace) -> list[Contest]:
    best = variants()[0]
    found = [Contest(best, options.peer_python)]
    if best == "avx512":
        found.append(Contest("avx2", options.peer_avx2_python or ""))
    return found


def _measure(
    contest: Contest, folder: Path, store: Path, gguf: Path, core: int, rounds: int
) -> list[Row]:
    with contextlib.ExitStack() as stack:
        coordinator = stack.enter_context(_worker_of(contest.variant, folder, store, core))
        peer, ways, reason = None, list[str](), "not measured: no peer was named"
        if contest.peer_python:
            _say(f"{contest.variant}: the peer loads the model ...")
            try:
                process = PeerProcess(contest.peer_python, folder, core, PEER, [str(gguf)])
                peer = stack.enter_context(process)
                ways = peer.ask("ways")["ways"]
            except PeerError as error:
                peer, reason = None, str(error)
        _say(f"{contest.variant}: a prompt ...")
        prefill = _compare_prefill(coordinator, peer, ways, max(3, rounds // 2))
        _say(f"{contest.variant}: decoding ...")
        decode = _compare_decode(coordinator, peer, ways, rounds)
    what = f"SmolLM2 135M, {contest.variant}"
    return [
        _row(f"prefill_{contest.variant}", f"{what}, prefill of {PROMPT_TOKENS} : llama.cpp", 1.3,
             prefill, PROMPT_TOKENS, reason),
        _row(f"decode_{contest.variant}", f"{what}, decode of {TOKENS} : llama.cpp", 1.5,
             decode, 1, reason),
    ]  # fmt: skip


@contextlib.contextmanager
def _worker_of(variant: str, folder: Path, store: Path, core: int) -> Iterator[JsonProcess]:
    """A coordinator that holds a worker with all layers."""
    layers = Store(store).manifest.n_layers
    popen = functools.partial(subprocess.Popen, env=os.environ | {"PI_CLUSTER_KERNELS": variant})
    with (
        worker(folder / "worker", core=core, popen=popen) as started,
        JsonProcess(_COORDINATOR, folder / "coordinator.log") as coordinator,
    ):
        coordinator.ask(
            "open", name="real", store=str(store), addresses=[started.address], bounds=[0, layers]
        )
        yield coordinator


def _compare_prefill(
    coordinator: JsonProcess, peer: PeerProcess | None, ways: Sequence[str], rounds: int
) -> Pair:
    """From the request to the first token."""

    def ours() -> list[float]:
        return [coordinator.ask("prefill", name="real", rows=PROMPT_TOKENS)["seconds"]]

    def theirs(way: str) -> list[float]:
        assert peer is not None
        return [peer.ask("prefill", way=way, rows=PROMPT_TOKENS)["seconds"]]

    # The coordinator learns on the first prompts which chunks suit the worker.
    for _ in range(2):
        ours()
    return in_turn(ours, theirs, fastest(list(ways), theirs), rounds)


def _compare_decode(
    coordinator: JsonProcess, peer: PeerProcess | None, ways: Sequence[str], rounds: int
) -> Pair:
    """From token to token."""
    asked = {"prompt": AFTER_TOKENS, "tokens": TOKENS}

    def ours() -> list[float]:
        return list(coordinator.ask("decode", name="real", users=1, **asked)["seconds"])

    def theirs(way: str) -> list[float]:
        assert peer is not None
        return list(peer.ask("decode", way=way, **asked)["seconds"][_SETTLED:])

    ours()
    return in_turn(ours, theirs, fastest(list(ways), theirs), rounds)


def _row(key: str, what: str, bound: float, pair: Pair, tokens: int, reason: str) -> Row:
    note = f"{tokens / pair.ours:.1f} tokens/s"
    if pair.peer is None:
        return Row(key, what, ge, bound, "x", None, f"{reason}; ours {note}")
    note += f", peer {tokens / pair.peer:.1f} ({pair.way})"
    return Row(key, what, ge, bound, "x", pair.ratio, note)


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()

"""How near the logits of a real model are to float32, beside llama.cpp's.

    python -m benchmarks.real_model.quality --reference-python PYTHON [--peer-python PYTHON]

``make bench-real-quality`` runs it. SmolLM2-135M-Instruct reads 2 000 tokens of a text. The
yardstick is what transformers computes in float32 from the file's dequantised weights; so what is
measured is arithmetic, not the file's quantisation. Ours are three workers, asked for all logits.
For each position: the Kullback-Leibler divergence of the distribution from the yardstick's, and
whether the largest logit is the same one.

The reference's Python needs ``torch``, ``transformers`` and ``gguf``; the peer's is built as
``benchmarks/kernels/__main__.py`` says. Takes about four minutes and 3 GB in DIR. Prints a table
and, last, JSON.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.json_process import ROOT
from benchmarks.kernels.peer_process import PeerError, PeerProcess
from benchmarks.real_model import ours
from benchmarks.real_model.published import NotFetched
from benchmarks.real_model.samples import POSITIONS, sample_ids, text
from benchmarks.real_model.smollm2 import gguf_path
from benchmarks.real_model.store import shard_into
from pi_cluster.cluster import settings
from pi_cluster.kernels import Engine

PEER = "benchmarks.real_model.peer"
_ROWS = 64  # looked at together


@dataclass(frozen=True, slots=True)
class Nearness:
    """How near somebody's logits are to the yardstick's; means over all positions."""

    who: str
    divergence: float
    """Nats."""
    standard_error: float
    same_picks: float
    loss: float
    """Cross-entropy of what the text goes on with, in nats."""

    def __str__(self) -> str:
        return (
            f"| {self.who} | {self.divergence:.6f} ± {self.standard_error:.6f} "
            f"| {100 * self.same_picks:.2f} % | {self.loss:.5f} |"
        )


def main() -> None:
    """Measure and print."""
    options = _options()
    print(f"mean of {POSITIONS} positions, against transformers in float32\n")
    print("| who | divergence, nats | same greedy pick | cross-entropy |")
    print("| --- | ---: | ---: | ---: |", flush=True)
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        found = []
        for nearness in measure(Path(name), options):
            print(nearness, flush=True)
            found.append(nearness)
    mine, others = found[1], found[2:]
    if not others:
        print("\nthe peer is not measured: install the group bench, and name its Python")
    for what, reached in (
        ("divergence no larger", all(mine.divergence <= other.divergence for other in others)),
        ("same picks no fewer", all(mine.same_picks >= other.same_picks for other in others)),
    ):
        if others:
            print(f"\n{what} than llama.cpp's: {'reached' if reached else 'MISSED'}")
    print(json.dumps({"positions": POSITIONS, "found": [asdict(nearness) for nearness in found]}))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.real_model.quality")
    parser.add_argument(
        "--reference-python", default=sys.executable, help="a Python with torch and transformers"
    )
    parser.add_argument("--peer-python", default=sys.executable, help="a Python with the peer")
    parser.add_argument("--folder", help="where 3 GB may lie for the time of the run")
    return parser.parse_args()


def measure(folder: Path, options: argparse.Namespace) -> Iterator[Nearness]:
    """The yardstick itself, ours, then the peer in each of its ways."""
    try:
        gguf = gguf_path()
    except NotFetched as error:
        sys.exit(f"benchmarks.real_model.quality: {error}")
    store = folder / "store"
    with Engine(settings.kernel_variant()) as engine:
        shard_into(store, gguf, engine)
    ids = sample_ids(store)
    given, targets = folder / "ids.npy", np.array(ids[1:])
    np.save(given, np.array(ids[:-1]))
    yardstick = folder / "reference.npy"
    _run_reference(options.reference_python, gguf, given, yardstick)
    reference = np.load(yardstick, mmap_mode="r")
    yield compare("transformers, float32", reference, reference, targets)
    out = folder / "logits.npy"
    with ours.pipeline(store, folder) as record:
        ours.write_logits(record, ids[:-1], out)
    yield compare("ours, three workers", np.load(out, mmap_mode="r"), reference, targets)
    core = max(os.sched_getaffinity(0))
    try:
        with PeerProcess(options.peer_python, folder, core, PEER, [str(gguf)]) as peer:
            if peer.ask("tokenize", text=text())["ids"][: len(ids)] != ids:
                raise ValueError("the peer's tokens of the text differ from ours: no contest")
            # Without its own order of the weights it computes the same.
            for way in [way for way in peer.ask("ways")["ways"] if way.startswith("repacked")]:
                peer.ask("logits", way=way, ids=str(given), out=str(out))
                theirs = np.load(out, mmap_mode="r")
                yield compare(f"llama.cpp, {way}", theirs, reference, targets)
    except PeerError as error:
        print(f"| llama.cpp | {error} | | |")


def _run_reference(python: str, gguf: Path, ids: Path, out: Path) -> None:
    program = str(Path(__file__).with_name("reference.py"))
    words = [python, program, str(gguf), str(ids), str(out)]
    done = subprocess.run(words, cwd=ROOT, stdout=sys.stderr, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["it ended"]
        sys.exit(
            f"benchmarks.real_model.quality: the reference failed: {last[0]}\nname with "
            "--reference-python a Python that has torch, transformers and gguf"
        )


def compare(
    who: str,
    logits: NDArray[np.float32],
    reference: NDArray[np.float32],
    targets: NDArray[np.int64],
) -> Nearness:
    """Sum up. Shapes: both ``(n, vocab_size)``, ``targets (n,)``."""
    divergences, losses, same = [], [], 0
    for start in range(0, len(targets), _ROWS):
        part = slice(start, start + _ROWS)
        wanted, found = _log_shares(reference[part]), _log_shares(logits[part])
        divergences.append((np.exp(wanted) * (wanted - found)).sum(axis=1))
        losses.append(-found[np.arange(len(found)), targets[part]])
        same += int((wanted.argmax(axis=1) == found.argmax(axis=1)).sum())
    each = np.concatenate(divergences)
    return Nearness(
        who=who,
        divergence=float(each.mean()),
        standard_error=float(each.std() / math.sqrt(len(each))),
        same_picks=same / len(each),
        loss=float(np.concatenate(losses).mean()),
    )


def _log_shares(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Logarithms of the probabilities, row by row."""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return shifted


if __name__ == "__main__":
    main()

"""What each format of four bits costs, on real weights, beside llama.cpp's. ``make bench-quality``.

    python -m benchmarks.quality [--peer-python PYTHON] [--models NAME,...] [--passages N]

The layers' matrices of a model go through a format and back, and the model that they make is
compared with the one they were made of: Kullback-Leibler divergence, perplexity, likeliest token,
by the code of ``pi-cluster eval``. Embedding, head and arithmetic are the same float32 for all, so
that rows differ by the layers' weights alone. One row has our kernels on a store of q4n, which adds
int8 activations, and embedding and head in q8.

Formats by importance take it from another text than the one that is measured, the same statistics
for ours and for llama.cpp's. Real models (330 MB to download, once) are the equivalents that
``equivalents.py`` makes of them. The peer's quantisers are ggml's, in the dependency group
``bench-quality`` (x86 alone); without them its rows are not measured. Takes half an hour and
3 GB in ``build/quality``, which is emptied. Prints tables and, last, JSON.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.json_process import ROOT
from benchmarks.quality import report
from benchmarks.quality.checkpoint import write_imatrix
from benchmarks.quality.float_model import FloatModel
from benchmarks.quality.formats import NotMeasured, Rounded, rounded, shard
from benchmarks.quality.measuring import Remembered, measure, second_moments
from benchmarks.quality.peer_formats import FORMATS, Peer
from benchmarks.quality.subjects import SUBJECTS, Amount, Subject
from benchmarks.quality.texts import CONTEXT
from benchmarks.real_model.published import NotFetched
from pi_cluster.deploy.evaluating.local_model import local_model

OURS = ("q8", "q4", "q4n", "q4m")
_WEIGHED = ("q4", "q4n", "q4m")
_ON_KERNELS = "q4n"
_FOLDER = ROOT / "build" / "quality"


def main() -> None:
    """Measure and print."""
    options = _options()
    amount = Amount(options.passages, options.documents, options.calibration)
    _FOLDER.mkdir(parents=True, exist_ok=True)
    found = []
    for name in options.models.split(","):
        try:
            for subject in SUBJECTS[name](amount):
                print(report.heading(subject), flush=True)
                rows = []
                with tempfile.TemporaryDirectory(dir=_FOLDER) as folder:
                    for row in _rows(subject, Path(folder), options.peer_python):
                        print(row, flush=True)
                        rows.append(row)
                print("\n" + "\n".join(report.goals(rows)) + "\n", flush=True)
                found.append(report.as_json(subject, rows))
        except NotFetched as error:
            sys.exit(f"benchmarks.quality: {error}")
    print(json.dumps({"models": found}))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality")
    parser.add_argument("--peer-python", default=sys.executable, help="a Python with libgguf")
    parser.add_argument("--models", default=",".join(SUBJECTS), help="some of %(default)s")
    parser.add_argument("--passages", type=int, default=5, help="of 512 tokens, of real models")
    parser.add_argument("--documents", type=int, default=60, help="of the embedded model")
    parser.add_argument("--calibration", type=int, default=8, help="passages of real models")
    options = parser.parse_args()
    if unknown := set(options.models.split(",")) - SUBJECTS.keys():
        parser.error(f"--models knows no {', '.join(sorted(unknown))}")
    if min(options.passages, options.documents, options.calibration) < 1:
        parser.error("one passage, document or more")
    return options


def _rows(subject: Subject, folder: Path, peer_python: str) -> Iterator[report.Row]:
    reference = Remembered(FloatModel(subject.weights), subject.passages)
    importance, positions = second_moments(subject.weights, subject.calibration)
    checkpoint, imatrix = folder / "checkpoint", folder / "imatrix.gguf"
    checkpoint.mkdir()
    subject.write(checkpoint)
    write_imatrix(importance, positions, imatrix)

    def row(name: str, of: Rounded, store_bytes: int | None = None) -> report.Row:
        model = FloatModel(subject.weights.with_tensors(of.tensors))
        quality = measure(model, reference, subject.passages)
        return report.Row(name, of.bits_of(subject.weights), store_bytes, quality)

    ways: list[tuple[str, tuple[str, ...]]] = [(name, ()) for name in OURS]
    ways += [(f"{name}, weighted", ("--imatrix", str(imatrix))) for name in _WEIGHED]
    for name, more in ways:
        try:
            out = folder / name
            store = shard(checkpoint, out, "--weights", name.split(",")[0], *more)
            # Of a model that is not computed it holds the layers alone.
            store_bytes = store.manifest.size_bytes if subject.is_served else None
            yield row(name, rounded(store), store_bytes)
            if name == _ON_KERNELS and subject.is_served:
                with local_model(store, CONTEXT) as model:
                    quality = measure(model, reference, subject.passages)
                yield report.Row(f"{name} by the kernels", None, None, quality)
        except NotMeasured as reason:
            yield report.Row(name, reason=str(reason))
    try:
        with Peer(peer_python, folder) as peer:
            for way in FORMATS:
                for end, weighed in (("", None), (", weighted", importance)):
                    if weighed is None or way.can_be_weighted:
                        of_peer = peer.rounded(subject.weights, way, weighed)
                        yield row(f"llama.cpp's {way.name}{end}", of_peer)
    except NotMeasured as reason:
        yield report.Row("llama.cpp's formats", reason=str(reason))


if __name__ == "__main__":
    main()

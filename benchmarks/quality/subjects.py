"""The models that formats are judged on, each as it came or in other weights of the same function.

Real models come quantised to four bits. Here each is taken for the truth: dequantised, and changed
so that its weights lie on no grid any more (``equivalents.py``).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.quality.checkpoint import layers_alone, write_checkpoint
from benchmarks.quality.equivalents import permuted, rotated
from benchmarks.quality.float_model import FloatModel, FloatWeights
from benchmarks.quality.measuring import Remembered, measure
from benchmarks.quality.reading import read_gemma3, read_supported
from benchmarks.quality.texts import GgufText, held_out_documents, other_documents
from benchmarks.real_model import gemma3, smollm2
from pi_cluster.coordinator.evaluating.figures import Quality
from pi_cluster.coordinator.evaluating.passages import Passage
from pi_cluster.storyteller import checkpoint_path

_SEED = 1
_MOST_DIVERGENCE = 1e-8  # nats: what rounding to float32 alone leaves of a sound change is 1e-11


@dataclass(frozen=True, slots=True)
class Subject:
    """One model in one set of weights."""

    name: str
    weights: FloatWeights
    passages: Sequence[Passage]
    calibration: Sequence[Passage]
    is_served: bool
    """Whether the product computes it; else only its layers' matrices go through it."""
    change: Quality | None = None
    """How far it is from the model as it came, if its weights are others."""

    def write(self, folder: Path) -> None:
        """Write its checkpoint, or that of its layers alone."""
        write_checkpoint(self.weights if self.is_served else layers_alone(self.weights), folder)


@dataclass(frozen=True, slots=True)
class Amount:
    """How much is read."""

    passages: int
    documents: int
    calibration: int


def storyteller(amount: Amount) -> Iterator[Subject]:
    """The embedded model, whose bfloat16 weights lie on no grid of four bits."""
    yield Subject(
        "the embedded model",
        read_supported(checkpoint_path()),
        held_out_documents(amount.documents),
        other_documents(amount.documents),
        is_served=True,
    )


def smollm2_135m(amount: Amount) -> Iterator[Subject]:
    """In both kinds of other weights."""
    yield from _changed(
        "SmolLM2 135M", smollm2.gguf_path(), read_supported, (permuted, rotated), True, amount
    )


def gemma3_270m(amount: Amount) -> Iterator[Subject]:
    """Permuted alone: the gains behind its blocks keep it from being turned."""
    yield from _changed("Gemma 3 270M", gemma3.gguf_path(), read_gemma3, (permuted,), False, amount)


SUBJECTS: dict[str, Callable[[Amount], Iterator[Subject]]] = {
    "storyteller": storyteller,
    "smollm2": smollm2_135m,
    "gemma3": gemma3_270m,
}


def _changed(
    name: str,
    path: Path,
    read: Callable[[Path], FloatWeights],
    changes: Sequence[Callable[[FloatWeights, int], FloatWeights]],
    is_served: bool,
    amount: Amount,
) -> Iterator[Subject]:
    came = read(path)
    text = GgufText(path, came.config.vocab_size)
    passages = text.measured(amount.passages)
    before = Remembered(FloatModel(came), passages[:1])
    for change in changes:
        weights = change(came, _SEED)
        quality = measure(FloatModel(weights), before, passages[:1])
        assert quality.against and quality.against.divergence.value < _MOST_DIVERGENCE, quality
        yield Subject(
            f"{name}, {change.__name__}",
            weights,
            passages,
            text.calibrating(amount.calibration),
            is_served,
            quality,
        )

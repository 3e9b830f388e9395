"""Importance computed here: the model reads some text, and each matrix's inputs are watched.

One pass in float32, straight from the checkpoint, layer by layer: all passages go through one
layer before the next is read. In memory are the hidden states of the text and what one passage
takes, but no matrix.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from pi_cluster.cluster.errors import CheckpointError
from pi_cluster.cluster.store.store import Progress
from pi_cluster.shard_tool.importance.calibration_state import (
    Begun,
    locked,
    read_begun,
    read_finished,
    write_finished,
)
from pi_cluster.shard_tool.importance.calibration_text import PASSAGE_TOKENS, CalibrationText
from pi_cluster.shard_tool.importance.importance import Array, Importance, weighable
from pi_cluster.shard_tool.importance.streamed_layer import (
    SecondMoments,
    StreamedLayer,
    float_blocks,
)
from pi_cluster.shard_tool.origin import CALIBRATION, WeighedBy
from pi_cluster.shard_tool.sources.checkpoint import Checkpoint
from pi_cluster.shard_tool.sources.names import layer_of, layer_tensor
from pi_cluster.transformer.arithmetic import rms_norm

TOKENS = 4096
"""By the second moments of another text, q4n's error with SmolLM2 135M falls from 7.11 to 5.73 %
with 512 tokens, and to 5.72, 5.72 and 5.68 % with each doubling: so many are for variety."""
MOST_TOKENS = 16_384
"""Of whose hidden states a model of 4096 columns takes 270 MB."""
_VERSION = 1  # raised when other numbers come of the same text


@dataclass(frozen=True)
class Calibration:
    """A calibration on the text of ``path`` as an ``ImportanceSource``.

    ``cache`` is where what was found is kept, for this model and text, so that an interrupted one
    goes on and another store of the same model need not wait for it again. ``tokens`` are read at
    most.
    """

    path: Path
    cache: Path
    tokens: int = TOKENS
    on_progress: Progress | None = None

    @property
    def identity(self) -> str:
        """The text, and how much of it is read."""
        return f"{CALIBRATION} {_VERSION} {self._text.sha256} {self.tokens} {PASSAGE_TOKENS}"

    def importance(self, checkpoint: Checkpoint) -> Importance:
        """Means of squares, of every matrix of the layers and of the head.

        Raises ``PromptError`` for a text that cannot be read, ``CheckpointError`` for a model that
        cannot read it, and ``StoreError`` where what is found cannot be kept.
        """
        passages = self._text.passages(checkpoint, self.tokens)
        key = hashlib.sha256(f"{self.identity} {checkpoint.fingerprint()}".encode()).hexdigest()
        means = calibrated(checkpoint, passages, self.cache / key[:32], self.on_progress)
        origin = WeighedBy(CALIBRATION, self.path.name, self._text.sha256, sum(map(len, passages)))
        return Importance(origin, means)

    @cached_property
    def _text(self) -> CalibrationText:
        return CalibrationText.read(self.path)


def calibrated(
    checkpoint: Checkpoint,
    passages: Sequence[Sequence[int]],
    folder: Path,
    on_progress: Progress | None = None,
) -> dict[str, Array]:
    """The means of squares of each matrix's input over some texts, by Mistral's whole names.

    Goes on with what ``folder`` has, which must be of this checkpoint and these passages. Errors
    are as of ``Calibration.importance``.
    """
    columns = weighable(checkpoint.config)
    with locked(folder):
        if (finished := read_finished(folder, columns)) is not None:
            return finished
        shape = (sum(map(len, passages)), checkpoint.config.dim)
        begun = read_begun(folder, columns, shape) or Begun(_embedded(checkpoint, passages), {})
        _through_the_layers(checkpoint, _spans(passages), begun, folder, on_progress)
        means = begun.means | _of_head(checkpoint, begun.hidden)
        write_finished(folder, means)
        return means


def _through_the_layers(
    checkpoint: Checkpoint,
    spans: Sequence[slice],
    begun: Begun,
    folder: Path,
    on_progress: Progress | None,
) -> None:
    first = len({layer_of(name) for name in begun.means})
    meter = _Meter(checkpoint, len(spans), first, on_progress)
    for number in range(first, checkpoint.config.n_layers):
        layer = StreamedLayer(checkpoint, number, partial(meter.add, number))
        with np.errstate(over="ignore", invalid="ignore"):  # what comes of it is looked at
            for span in spans:
                begun.hidden[span] = layer.forward(begun.hidden[span])
            squares = np.einsum("rc,rc->r", begun.hidden, begun.hidden)
        means = layer.inputs.means()
        if not all(np.isfinite(array).all() for array in (squares, *means.values())):
            raise CheckpointError(
                f"layer {number} of {checkpoint.path} computes numbers that are not finite, or so "
                "large that their squares are not: its weights are damaged. Fetch it again"
            )
        begun.means |= {layer_tensor(number, name): mean for name, mean in means.items()}
        begun.write(folder)


class _Meter:
    """Bytes of weights that were multiplied, by every passage, told to whoever watches."""

    def __init__(
        self, checkpoint: Checkpoint, passages: int, first: int, on_progress: Progress | None
    ) -> None:
        """The layers before ``first`` are done."""
        self._on_progress = on_progress
        of_layers = [0] * checkpoint.config.n_layers
        for name in weighable(checkpoint.config):
            if (number := layer_of(name)) is not None:
                rows, columns = checkpoint.tensors[name].shape
                of_layers[number] += 4 * rows * columns * passages
        self._total_bytes, self._done_bytes = sum(of_layers), sum(of_layers[:first])

    def add(self, number: int, count: int) -> None:
        """So many more, of this layer."""
        self._done_bytes += count
        if self._on_progress:
            what = f"calibrating layer {number}"
            self._on_progress(self._done_bytes, self._total_bytes, what)


def _spans(passages: Sequence[Sequence[int]]) -> list[slice]:
    ends = np.cumsum([len(passage) for passage in passages]).tolist()
    return [slice(end - len(passage), end) for end, passage in zip(ends, passages, strict=True)]


def _embedded(checkpoint: Checkpoint, passages: Sequence[Sequence[int]]) -> Array:
    """Hidden states before the first layer. Shapes: ``(rows, dim)``."""
    ids = np.concatenate([np.array(passage, np.int64) for passage in passages])
    hidden = np.empty((len(ids), checkpoint.config.dim), np.float32)
    start = 0
    for block in float_blocks(checkpoint.tensors["tok_embeddings.weight"]):
        within = (ids >= start) & (ids < start + len(block))
        hidden[within] = block[ids[within] - start]
        start += len(block)
    return hidden


def _of_head(checkpoint: Checkpoint, hidden: Array) -> dict[str, Array]:
    gain = np.concatenate(list(float_blocks(checkpoint.tensors["norm.weight"])))
    moments = SecondMoments()
    for start in range(0, len(hidden), PASSAGE_TOKENS):
        rows = hidden[start : start + PASSAGE_TOKENS]
        moments.add("output.weight", rms_norm(rows, gain, checkpoint.config.norm_eps))
    return dict(moments.means())

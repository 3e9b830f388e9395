"""A stage: a run of layers with the caches of the sequences that pass through it.

What a stage accepts and what it holds is decided here; how it computes is the business of its
``Arithmetic``: `numpy_arithmetic.py`, the specification, or `kernel_arithmetic.py`, the fast one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from transformer.arithmetic import Array
from transformer.config import ModelConfig
from transformer.errors import StepError
from transformer.layer import Span
from transformer.rope import rope_angles


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive positions of one sequence, as they travel in a step."""

    sequence: int
    start: int
    """Position of the first row; 0 begins the sequence."""
    rows: int


@dataclass(frozen=True, slots=True)
class Limits:
    """What a stage accepts, so that its memory is known before anything is loaded."""

    max_step_rows: int
    max_sequences: int
    context: int
    """Longest sequence of a model without a window; with one, texts may grow without end."""


class SequenceCache(Protocol):
    """Keys and values of one sequence at all layers of a stage."""

    @property
    def size_bytes(self) -> int:
        """Bytes held now."""
        ...


class Arithmetic(Protocol):
    """The weights of a stage, and how they are applied."""

    def embed(self, ids: NDArray[np.integer]) -> Array:
        """Hidden states of ids within the vocabulary. Shapes: ``(rows,)`` -> ``(rows, dim)``."""
        ...

    def new_cache(self) -> Any:
        """The empty ``SequenceCache`` of one sequence."""
        ...

    def forward(
        self,
        hidden: Array,
        angles: tuple[Array, Array],
        spans: Sequence[Span],
        caches: Sequence[Any],
    ) -> Array:
        """Run all layers on a step, extending one cache a span.

        Shapes: ``hidden (rows, dim)``, ``angles`` two of ``(rows, head_dim // 2)`` ->
        ``(rows, dim)``.
        """
        ...

    def logits(self, hidden: Array) -> Array:
        """Final norm and head. Shapes: ``(rows, dim)`` -> ``(rows, vocab_size)``."""
        ...


@dataclass(slots=True)
class _Sequence:
    cache: SequenceCache
    length: int = field(default=0)


class Stage:
    """Layers ``layers.start`` up to ``layers.stop`` of a model.

    The stage with the first layer also embeds token ids; the one with the last also computes
    logits. Memory beyond the weights is at most ``max_sequences`` caches a layer and one step.
    """

    def __init__(
        self, config: ModelConfig, layers: range, arithmetic: Arithmetic, limits: Limits
    ) -> None:
        self.config = config
        self.layers = layers
        self.limits = limits
        self._arithmetic = arithmetic
        self._sequences: dict[int, _Sequence] = {}

    @property
    def is_first(self) -> bool:
        """Whether steps arrive as token ids."""
        return self.layers.start == 0

    @property
    def is_last(self) -> bool:
        """Whether steps end here as logits."""
        return self.layers.stop == self.config.n_layers

    @property
    def sequences(self) -> int:
        """Sequences whose caches are held."""
        return len(self._sequences)

    @property
    def cache_bytes(self) -> int:
        """Bytes held in caches now."""
        return sum(sequence.cache.size_bytes for sequence in self._sequences.values())

    def embed(self, ids: NDArray[np.integer]) -> Array:
        """Hidden states of token ids. Shapes: ``(rows,)`` -> ``(rows, dim)``.

        Raises ``StepError`` for an id outside the vocabulary.
        """
        outside = ids[(ids < 0) | (ids >= self.config.vocab_size)]
        if len(outside):
            raise StepError(
                f"token id {outside[0]} is outside the vocabulary 0..{self.config.vocab_size - 1}"
            )
        return self._arithmetic.embed(ids)

    def forward(self, chunks: Sequence[Chunk], hidden: Array) -> Array:
        """Run the stage's layers on a step, extending each chunk's sequence.

        Shapes: ``hidden (rows, dim)``, the chunks' rows one after another -> ``(rows, dim)``.
        Raises ``StepError`` when a chunk does not continue what is held, or a limit is passed.
        """
        self._check(chunks, hidden)
        sequences = [self._open(chunk) for chunk in chunks]
        spans = _spans(chunks)
        positions = np.concatenate([np.arange(c.start, c.start + c.rows) for c in chunks])
        angles = rope_angles(positions, self.config.head_dim, self.config.rope_theta)
        caches = [sequence.cache for sequence in sequences]
        hidden = self._arithmetic.forward(hidden, angles, spans, caches)
        for chunk, sequence in zip(chunks, sequences, strict=True):
            sequence.length += chunk.rows
        return hidden

    def logits(self, hidden: Array) -> Array:
        """Final norm and head. Shapes: ``(rows, dim)`` -> ``(rows, vocab_size)``."""
        return self._arithmetic.logits(hidden)

    def end(self, sequence: int) -> None:
        """Free a sequence's caches; one that is not held is no error."""
        self._sequences.pop(sequence, None)

    def clear(self) -> None:
        """Free the caches of every sequence."""
        self._sequences.clear()

    def _check(self, chunks: Sequence[Chunk], hidden: Array) -> None:
        rows = sum(chunk.rows for chunk in chunks)
        if not chunks or any(chunk.rows < 1 for chunk in chunks):
            raise StepError("a step needs at least one row in every chunk")
        if hidden.shape != (rows, self.config.dim):
            raise StepError(f"a step of {rows} rows came with hidden states {hidden.shape}")
        if rows > self.limits.max_step_rows:
            raise StepError(f"{rows} rows in one step; at most {self.limits.max_step_rows}")
        if len({chunk.sequence for chunk in chunks}) != len(chunks):
            raise StepError("a sequence may be in a step only once")
        for chunk in chunks:
            held = self._sequences.get(chunk.sequence)
            length = held.length if held else 0
            if chunk.start != length:
                raise StepError(
                    f"sequence {chunk.sequence} goes on at position {chunk.start}, "
                    f"but {length} positions are held"
                )
            if self.config.window is None and chunk.start + chunk.rows > self.limits.context:
                raise StepError(
                    f"sequence {chunk.sequence} would reach {chunk.start + chunk.rows} positions; "
                    f"the context is {self.limits.context}"
                )
        opened = sum(chunk.sequence not in self._sequences for chunk in chunks)
        if len(self._sequences) + opened > self.limits.max_sequences:
            raise StepError(f"more than {self.limits.max_sequences} sequences at once")

    def _open(self, chunk: Chunk) -> _Sequence:
        if chunk.sequence not in self._sequences:
            self._sequences[chunk.sequence] = _Sequence(self._arithmetic.new_cache())
        return self._sequences[chunk.sequence]


def _spans(chunks: Sequence[Chunk]) -> list[Span]:
    spans, row = [], 0
    for chunk in chunks:
        spans.append(Span(row, row + chunk.rows, chunk.start))
        row += chunk.rows
    return spans

"""A stage: a run of layers with the caches of the sequences that pass through it.

What a stage accepts and what it holds is decided here; how it computes is the business of its
``Arithmetic``: `numpy_arithmetic.py`, the specification, or `kernel_arithmetic.py`, the fast one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from pi_cluster.transformer.arithmetic import Array
from pi_cluster.transformer.cache import largest_capacity, reached_slots
from pi_cluster.transformer.config import ModelConfig
from pi_cluster.transformer.errors import StepError
from pi_cluster.transformer.layer import Span
from pi_cluster.transformer.limits import Limits
from pi_cluster.transformer.rope import Angles, rope_angles


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive positions of one sequence, as they travel in a step."""

    sequence: int
    start: int
    """Position of the first row; what is held from there on is forgotten. 0 begins anew."""
    rows: int
    prefix_of: int = 0
    """A held sequence whose first ``start`` positions this one begins with; 0 for none."""


class SequenceCache(Protocol):
    """Keys and values of one sequence at all layers of a stage."""

    @property
    def size_bytes(self) -> int:
        """Bytes held now."""
        ...

    def can_truncate(self, length: int) -> bool:
        """Whether all that position ``length`` sees is still stored, were it the next one."""
        ...

    def truncate(self, length: int) -> None:
        """Forget the positions from ``length`` on; only where ``can_truncate``."""
        ...

    def fork(self, length: int) -> Self:
        """A copy of the first ``length`` positions; only where ``can_truncate``."""
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
        angles: Angles,
        spans: Sequence[Span],
        caches: Sequence[Any],
    ) -> Array:
        """Run all layers on a step, extending one cache a span.

        Shapes: ``hidden (rows, dim)``, ``angles`` of each rope table that a layer names ->
        ``(rows, dim)``.
        """
        ...

    def final_norm(self, hidden: Array) -> Array:
        """What the head multiplies. Shapes: ``(rows, dim)`` -> the same."""
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
    logits. Memory beyond the weights is at most ``cache_positions`` a layer and one step. A text
    counts by the layer that holds most of it; a layer of smaller capacity holds less.
    """

    def __init__(
        self, config: ModelConfig, layers: range, arithmetic: Arithmetic, limits: Limits
    ) -> None:
        self.config = config
        self.layers = layers
        self.limits = limits
        self._arithmetic = arithmetic
        self._capacity = largest_capacity(config, limits)
        named = {config.layers[index].rope_table for index in layers}
        self._rope_tables = {
            index: table for index, table in enumerate(config.rope_tables) if index in named
        }
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
        # Another thread asks while steps come and go, hence the copy.
        return sum(sequence.cache.size_bytes for sequence in tuple(self._sequences.values()))

    @property
    def position_bytes(self) -> int:
        """What one more position takes in the caches of all layers: keys and values, two bytes."""
        layers = [self.config.layers[index] for index in self.layers]
        return sum(2 * 2 * layer.n_kv_heads * layer.head_dim for layer in layers)

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
        """Run the stage's layers on a step, extending each chunk's sequence from its start.

        Shapes: ``hidden (rows, dim)``, the chunks' rows one after another -> ``(rows, dim)``.
        Raises ``StepError``, and changes nothing, when a chunk does not continue what is held or
        a limit is passed. A prefix is taken from what is held before the step.
        """
        self._check(chunks, hidden)
        for chunk in chunks:
            if chunk.prefix_of:
                cache = self._sequences[chunk.prefix_of].cache.fork(chunk.start)
                self._sequences[chunk.sequence] = _Sequence(cache, chunk.start)
        sequences = [self._open(chunk) for chunk in chunks]
        spans = _spans(chunks)
        positions = np.concatenate([np.arange(c.start, c.start + c.rows) for c in chunks])
        angles = {
            index: rope_angles(positions, table.rotary_dim, table.theta, table.factors)
            for index, table in self._rope_tables.items()
        }
        caches = [sequence.cache for sequence in sequences]
        hidden = self._arithmetic.forward(hidden, angles, spans, caches)
        for chunk, sequence in zip(chunks, sequences, strict=True):
            sequence.length += chunk.rows
        return hidden

    def final_norm(self, hidden: Array) -> Array:
        """The states of a text, as the head sees them. Shapes: ``(rows, dim)`` -> the same."""
        return self._arithmetic.final_norm(hidden)

    def logits(self, hidden: Array) -> Array:
        """Final norm and head. Shapes: ``(rows, dim)`` -> ``(rows, vocab_size)``."""
        return self._arithmetic.logits(hidden)

    def can_go_back(self, sequence: int, length: int) -> bool:
        """Whether a held sequence may go on at position ``length``."""
        held = self._sequences.get(sequence)
        return held is not None and length <= held.length and held.cache.can_truncate(length)

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
            self._check_start(chunk)
            if self.config.widest_window is None and chunk.start + chunk.rows > self.limits.context:
                raise StepError(
                    f"sequence {chunk.sequence} would reach {chunk.start + chunk.rows} positions; "
                    f"the context is {self.limits.context}"
                )
        self._check_room(chunks)

    def _check_start(self, chunk: Chunk) -> None:
        name, start = f"sequence {chunk.sequence}", chunk.start
        held = self._sequences.get(chunk.sequence)
        length = held.length if held else 0
        if chunk.prefix_of:
            if held:
                raise StepError(f"{name} cannot begin as a prefix: {length} positions are held")
            held = self._sequences.get(chunk.prefix_of)
            length = held.length if held else 0
            if not 0 < start <= length:
                raise StepError(
                    f"{name} cannot begin with {start} positions of sequence {chunk.prefix_of}: "
                    f"{length} are held"
                )
        elif start > length:
            raise StepError(f"{name} goes on at position {start}, but {length} positions are held")
        if held and not held.cache.can_truncate(start):
            raise StepError(
                f"{name} cannot go on at position {start}: {length} positions are held, but some "
                "that it must see there have been overwritten"
            )

    def _check_room(self, chunks: Sequence[Chunk]) -> None:
        lengths = {number: held.length for number, held in self._sequences.items()}
        lengths |= {chunk.sequence: chunk.start + chunk.rows for chunk in chunks}
        if len(lengths) > self.limits.max_sequences:
            raise StepError(f"more than {self.limits.max_sequences} sequences at once")
        slots = sum(reached_slots(length, self._capacity) for length in lengths.values())
        if slots > self.limits.cache_positions:
            raise StepError(
                f"the caches would hold {slots} positions, in whole tiles; "
                f"at most {self.limits.cache_positions}"
            )

    def _open(self, chunk: Chunk) -> _Sequence:
        sequence = self._sequences.get(chunk.sequence)
        if sequence is None:
            sequence = self._sequences[chunk.sequence] = _Sequence(self._arithmetic.new_cache())
        elif chunk.start < sequence.length:
            sequence.cache.truncate(chunk.start)
            sequence.length = chunk.start
        return sequence


def _spans(chunks: Sequence[Chunk]) -> list[Span]:
    spans, row = [], 0
    for chunk in chunks:
        spans.append(Span(row, row + chunk.rows, chunk.start))
        row += chunk.rows
    return spans

"""What a model costs, layer by layer: layers differ in format, in window and in shape."""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from pi_cluster.cluster.layer_range import LayerRange
from pi_cluster.cluster.speed import STEP_COST_S, Speed


@dataclass(frozen=True, slots=True)
class LayerCost:
    """What one layer, or several together, ask of a node."""

    weight_bytes: int
    """Of their shard files."""
    cache_bytes: int
    """What the caches of all sequences may hold."""
    macs: int
    """Multiply-adds of one row."""

    def __add__(self, other: "LayerCost") -> "LayerCost":
        return LayerCost(
            self.weight_bytes + other.weight_bytes,
            self.cache_bytes + other.cache_bytes,
            self.macs + other.macs,
        )

    def __sub__(self, other: "LayerCost") -> "LayerCost":
        return LayerCost(
            self.weight_bytes - other.weight_bytes,
            self.cache_bytes - other.cache_bytes,
            self.macs - other.macs,
        )


_NOTHING = LayerCost(0, 0, 0)


@dataclass(frozen=True)
class ModelFootprint:
    """What a model asks of the nodes that hold it: bytes, and multiply-adds for one row.

    A stage that begins with the first layer holds the embedding too, and one that ends with the
    last layer the head.
    """

    layers: tuple[LayerCost, ...]
    embedding_bytes: int
    head_bytes: int
    step_bytes: int
    """Activations of the largest step."""
    head_macs: int
    row_bytes: int
    """Hidden states of one row, as they travel."""

    @property
    def n_layers(self) -> int:
        """Number of layers."""
        return len(self.layers)

    @property
    def all_layers(self) -> LayerRange:
        """The whole model as one stage."""
        return LayerRange(0, self.n_layers)

    @cached_property
    def _before(self) -> tuple[LayerCost, ...]:
        """Of the first 0, 1, 2 ... layers together."""
        sums: Iterable[LayerCost] = itertools.accumulate(self.layers, initial=_NOTHING)
        return tuple(sums)

    def cost(self, layers: LayerRange) -> LayerCost:
        """Of these layers together, without embedding and head."""
        return self._before[layers.stop] - self._before[layers.start]

    def weight_bytes(self, layers: LayerRange) -> int:
        """All weights of a stage with these layers."""
        size = self.cost(layers).weight_bytes
        if layers.start == 0:
            size += self.embedding_bytes
        if self.has_head(layers):
            size += self.head_bytes
        return size

    def memory_bytes(self, layers: LayerRange) -> int:
        """What a stage with these layers fills: weights, caches and activations."""
        return self.weight_bytes(layers) + self.cost(layers).cache_bytes + self.step_bytes

    def has_head(self, layers: LayerRange) -> bool:
        """Whether a stage with these layers is the last."""
        return layers.stop == self.n_layers

    def stage_s(self, speed: Speed, layers: LayerRange, rows: int, head_rows: int) -> float:
        """Seconds of a stage for a step, with logits of ``head_rows`` of its rows if it is the
        last. Only those rows are multiplied by the head, and it is read only if there are any.

        The share of attention is left out: at 512 positions of Mistral 7B, a fiftieth of the
        multiply-adds.
        """
        cost = self.cost(layers)
        time = STEP_COST_S + speed.compute_s(cost.weight_bytes, cost.macs, rows)
        if head_rows and self.has_head(layers):
            time += self.head_s(speed, head_rows)
        return time

    def head_s(self, speed: Speed, rows: int) -> float:
        """Seconds of the head alone."""
        return speed.compute_s(self.head_bytes, self.head_macs, rows)

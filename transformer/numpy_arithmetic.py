"""A stage computed in numpy: the specification that the kernels are held against."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pi_cluster.transformer.arithmetic import Array, Weight, linear, rms_norm
from pi_cluster.transformer.cache import RollingKVCache, cache_rooms
from pi_cluster.transformer.config import LayerConfig, ModelConfig
from pi_cluster.transformer.layer import Layer, Span
from pi_cluster.transformer.limits import Limits
from pi_cluster.transformer.rope import Angles
from pi_cluster.transformer.shapes import layer_shapes
from pi_cluster.transformer.stage import Stage


@dataclass(frozen=True, slots=True)
class StageWeights:
    """The tensors of a stage, by Mistral's names within each shard file."""

    layers: Sequence[Mapping[str, Weight]]
    embedding: Mapping[str, Weight] | None = None
    head: Mapping[str, Weight] | None = None


class LayerCaches(list[RollingKVCache]):
    """One sequence's caches, a layer each."""

    @property
    def size_bytes(self) -> int:
        """Bytes held now."""
        return sum(cache.size_bytes for cache in self)

    def can_truncate(self, length: int) -> bool:
        """Whether all that position ``length`` sees is still stored, were it the next one."""
        return all(cache.can_truncate(length) for cache in self)

    def truncate(self, length: int) -> None:
        """Forget the positions from ``length`` on."""
        for cache in self:
            cache.truncate(length)

    def fork(self, length: int) -> "LayerCaches":
        """The caches of another sequence that begins with the first ``length`` positions."""
        return LayerCaches(cache.fork(length) for cache in self)


class NumpyArithmetic:
    """``transformer.stage.Arithmetic`` in numpy, for some layers of a model."""

    def __init__(
        self, config: ModelConfig, layers: range, weights: StageWeights, limits: Limits
    ) -> None:
        self._config = config
        self._shapes = [config.layers[index] for index in layers]
        self._rooms = [cache_rooms(config, limits)[index] for index in layers]
        self._layers = [
            _layer(config, shape, tensors)
            for shape, tensors in zip(self._shapes, weights.layers, strict=True)
        ]
        self._embedding = weights.embedding["tok_embeddings.weight"] if weights.embedding else None
        self._norm = weights.head["norm.weight"] if weights.head else None
        self._output = weights.head["output.weight"] if weights.head else None

    def embed(self, ids: NDArray[np.integer]) -> Array:
        """Rows of the embedding."""
        assert self._embedding is not None, "only the first stage embeds"
        rows: Array = self._embedding[ids].astype(np.float32)
        return rows

    def new_cache(self) -> LayerCaches:
        """Empty rolling caches."""
        return LayerCaches(
            RollingKVCache(shape.n_kv_heads, shape.head_dim, room.capacity, window=room.window)
            for shape, room in zip(self._shapes, self._rooms, strict=True)
        )

    def forward(
        self,
        hidden: Array,
        angles: Angles,
        spans: Sequence[Span],
        caches: Sequence[LayerCaches],
    ) -> Array:
        """One layer after the other."""
        for index, layer in enumerate(self._layers):
            hidden = layer.forward(hidden, angles, spans, [cache[index] for cache in caches])
        return hidden

    def final_norm(self, hidden: Array) -> Array:
        """The norm before the head."""
        assert self._norm is not None, "only the last stage has a head"
        return rms_norm(hidden, self._norm, self._config.norm_eps)

    def logits(self, hidden: Array) -> Array:
        """Final norm and head."""
        assert self._output is not None, "only the last stage has a head"
        return linear(self.final_norm(hidden), self._output)


def numpy_stage(config: ModelConfig, layers: range, weights: StageWeights, limits: Limits) -> Stage:
    """A stage that computes in numpy."""
    return Stage(config, layers, NumpyArithmetic(config, layers, weights, limits), limits)


def _layer(config: ModelConfig, layer: LayerConfig, tensors: Mapping[str, Weight]) -> Layer:
    assert tensors.keys() == layer_shapes(layer, config.dim).keys(), "the tensors of such a layer"
    return Layer(layer, config.norm_eps, tensors, lambda x, name: linear(x, tensors[name]))

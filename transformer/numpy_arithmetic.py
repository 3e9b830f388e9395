"""A stage computed in numpy: the specification that the kernels are held against."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pi_cluster.transformer.arithmetic import Array, Weight, linear, rms_norm
from pi_cluster.transformer.cache import RollingKVCache, cache_capacity
from pi_cluster.transformer.config import ModelConfig
from pi_cluster.transformer.layer import Layer, Span
from pi_cluster.transformer.limits import Limits
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
    """``transformer.stage.Arithmetic`` in numpy."""

    def __init__(self, config: ModelConfig, weights: StageWeights, limits: Limits) -> None:
        self._config = config
        self._capacity = cache_capacity(config.widest_window, limits.context, limits.max_step_rows)
        self._layers = [
            Layer(config.layers[0], config.norm_eps, tensors) for tensors in weights.layers
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
        layer = self._config.layers[0]
        return LayerCaches(
            RollingKVCache(layer.n_kv_heads, layer.head_dim, self._capacity, window=layer.window)
            for _ in self._layers
        )

    def forward(
        self,
        hidden: Array,
        angles: tuple[Array, Array],
        spans: Sequence[Span],
        caches: Sequence[LayerCaches],
    ) -> Array:
        """One layer after the other."""
        for index, layer in enumerate(self._layers):
            hidden = layer.forward(hidden, angles, spans, [cache[index] for cache in caches])
        return hidden

    def logits(self, hidden: Array) -> Array:
        """Final norm and head."""
        assert self._norm is not None and self._output is not None, "only the last stage has a head"
        return linear(rms_norm(hidden, self._norm, self._config.norm_eps), self._output)


def numpy_stage(config: ModelConfig, layers: range, weights: StageWeights, limits: Limits) -> Stage:
    """A stage that computes in numpy."""
    assert len(weights.layers) == len(layers), "one set of tensors a layer"
    return Stage(config, layers, NumpyArithmetic(config, weights, limits), limits)

"""A stage computed by the kernels: what workers use."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pi_cluster.kernels import (
    Engine,
    KVCache,
    Layers,
    LayerShape,
    LayerWeights,
    Matrix,
    Part,
    rows_of,
)
from pi_cluster.transformer.arithmetic import Array
from pi_cluster.transformer.cache import cache_capacity
from pi_cluster.transformer.config import ModelConfig
from pi_cluster.transformer.layer import Span
from pi_cluster.transformer.limits import Limits

Tensors = Mapping[str, Matrix | Array]


@dataclass(frozen=True, slots=True)
class StageTensors:
    """A stage's matrices and gains, by Mistral's names within each shard file."""

    layers: Sequence[Tensors]
    embedding: Tensors | None = None
    head: Tensors | None = None


def layer_shape(config: ModelConfig, limits: Limits) -> LayerShape:
    """What the kernels must know of a model's layers and of their caches."""
    layer = config.layers[0]
    return LayerShape(
        dim=config.dim,
        hidden_dim=layer.hidden_dim,
        n_heads=layer.n_heads,
        n_kv_heads=layer.n_kv_heads,
        head_dim=layer.head_dim,
        norm_eps=config.norm_eps,
        window=layer.window,
        capacity=cache_capacity(layer.window, limits.context, limits.max_step_rows),
    )


class KernelArithmetic:
    """``transformer.stage.Arithmetic`` by compiled kernels: the same bits on every machine."""

    def __init__(
        self, config: ModelConfig, tensors: StageTensors, limits: Limits, engine: Engine
    ) -> None:
        self._config = config
        self._engine = engine
        layers = [_layer_weights(layer) for layer in tensors.layers]
        self._layers = Layers(engine, layer_shape(config, limits), layers, limits.max_step_rows)
        self._embedding = tensors.embedding and _matrix(tensors.embedding, "tok_embeddings.weight")
        self._norm = tensors.head and _gain(tensors.head, "norm.weight")
        self._output = tensors.head and _matrix(tensors.head, "output.weight")

    def embed(self, ids: NDArray[np.integer]) -> Array:
        """Rows of the embedding."""
        assert isinstance(self._embedding, Matrix), "only the first stage embeds"
        return rows_of(self._embedding, ids)

    def new_cache(self) -> KVCache:
        """An empty rolling cache, its memory provided as the text grows."""
        return self._layers.new_cache()

    def forward(
        self,
        hidden: Array,
        angles: tuple[Array, Array],
        spans: Sequence[Span],
        caches: Sequence[KVCache],
    ) -> Array:
        """All layers in one call."""
        parts = [
            Part(cache, span.stop_row - span.start_row)
            for span, cache in zip(spans, caches, strict=True)
        ]
        return self._layers.forward(hidden, *angles, parts)

    def logits(self, hidden: Array) -> Array:
        """Final norm and head."""
        assert isinstance(self._output, Matrix), "only the last stage has a head"
        assert isinstance(self._norm, np.ndarray)
        normed = self._engine.rms_norm(hidden, self._norm, self._config.norm_eps)
        return self._engine.linear(normed, self._output)


def _layer_weights(tensors: Tensors) -> LayerWeights:
    return LayerWeights(
        attention_norm=_gain(tensors, "attention_norm.weight"),
        wq=_matrix(tensors, "attention.wq.weight"),
        wk=_matrix(tensors, "attention.wk.weight"),
        wv=_matrix(tensors, "attention.wv.weight"),
        wo=_matrix(tensors, "attention.wo.weight"),
        ffn_norm=_gain(tensors, "ffn_norm.weight"),
        w1=_matrix(tensors, "feed_forward.w1.weight"),
        w2=_matrix(tensors, "feed_forward.w2.weight"),
        w3=_matrix(tensors, "feed_forward.w3.weight"),
    )


def _matrix(tensors: Tensors, name: str) -> Matrix:
    matrix = tensors[name]
    assert isinstance(matrix, Matrix), name
    return matrix


def _gain(tensors: Tensors, name: str) -> Array:
    gain = tensors[name]
    assert isinstance(gain, np.ndarray), name
    return gain

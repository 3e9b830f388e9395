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
from pi_cluster.transformer.cache import CacheRoom, cache_rooms
from pi_cluster.transformer.config import LayerConfig, ModelConfig
from pi_cluster.transformer.layer import Span
from pi_cluster.transformer.limits import Limits
from pi_cluster.transformer.rope import Angles

Tensors = Mapping[str, Matrix | Array]


@dataclass(frozen=True, slots=True)
class StageTensors:
    """A stage's matrices and gains, by Mistral's names within each shard file."""

    layers: Sequence[Tensors]
    embedding: Tensors | None = None
    head: Tensors | None = None


def kernel_shapes(config: ModelConfig, limits: Limits) -> tuple[LayerShape, ...]:
    """What the kernels must know of each of a model's layers and of their caches."""
    return tuple(
        _kernel_shape(config, layer, room)
        for layer, room in zip(config.layers, cache_rooms(config, limits), strict=True)
    )


def most_cache_bytes(config: ModelConfig, limits: Limits) -> tuple[int, ...]:
    """Bytes that the caches of all sequences hold at each layer, at most.

    Texts are counted by the layer with the largest capacity; one of smaller capacity never holds
    more than that of as many sequences as there may be.
    """
    return tuple(
        shape.cache_bytes_per_layer
        // shape.capacity
        * min(limits.cache_positions, limits.max_sequences * shape.capacity)
        for shape in kernel_shapes(config, limits)
    )


def _kernel_shape(config: ModelConfig, layer: LayerConfig, room: CacheRoom) -> LayerShape:
    table = layer.rope_table
    return LayerShape(
        dim=config.dim,
        hidden_dim=layer.hidden_dim,
        n_heads=layer.n_heads,
        n_kv_heads=layer.n_kv_heads,
        head_dim=layer.head_dim,
        norm_eps=config.norm_eps,
        window=room.window,
        capacity=room.capacity,
        rope_table=table,
        rotary_dim=None if table is None else config.rope_tables[table].rotary_dim,
        query_scale=layer.query_scale,
        qkv_bias=layer.qkv_bias,
        o_bias=layer.o_bias,
        qk_norm=layer.qk_norm,
    )


class KernelArithmetic:
    """``transformer.stage.Arithmetic`` by compiled kernels, for some layers of a model.

    The same bits on every machine.
    """

    def __init__(
        self,
        config: ModelConfig,
        layers: range,
        tensors: StageTensors,
        limits: Limits,
        engine: Engine,
    ) -> None:
        self._config = config
        self._engine = engine
        shapes = kernel_shapes(config, limits)[layers.start : layers.stop]
        weights = [_layer_weights(layer) for layer in tensors.layers]
        self._layers = Layers(engine, shapes, weights, limits.max_step_rows)
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
        angles: Angles,
        spans: Sequence[Span],
        caches: Sequence[KVCache],
    ) -> Array:
        """All layers in one call."""
        parts = [
            Part(cache, span.stop_row - span.start_row)
            for span, cache in zip(spans, caches, strict=True)
        ]
        return self._layers.forward(hidden, angles, parts)

    def final_norm(self, hidden: Array) -> Array:
        """The norm before the head."""
        assert isinstance(self._norm, np.ndarray), "only the last stage has a head"
        return self._engine.rms_norm(hidden, self._norm, self._config.norm_eps)

    def logits(self, hidden: Array) -> Array:
        """Final norm and head, whose rounding no later layer would smooth: it is done finely."""
        assert isinstance(self._output, Matrix), "only the last stage has a head"
        return self._engine.fine_linear(self.final_norm(hidden), self._output)


_KERNELS_NAMES = {
    "attention_norm.weight": "attention_norm",
    "attention.wq.weight": "wq",
    "attention.wk.weight": "wk",
    "attention.wv.weight": "wv",
    "attention.wo.weight": "wo",
    "attention.wq.bias": "bq",
    "attention.wk.bias": "bk",
    "attention.wv.bias": "bv",
    "attention.wo.bias": "bo",
    "attention.q_norm.weight": "q_norm",
    "attention.k_norm.weight": "k_norm",
    "ffn_norm.weight": "ffn_norm",
    "feed_forward.w1.weight": "w1",
    "feed_forward.w2.weight": "w2",
    "feed_forward.w3.weight": "w3",
}


def _layer_weights(tensors: Tensors) -> LayerWeights:
    return {_KERNELS_NAMES[name]: tensor for name, tensor in tensors.items()}


def _matrix(tensors: Tensors, name: str) -> Matrix:
    matrix = tensors[name]
    assert isinstance(matrix, Matrix), name
    return matrix


def _gain(tensors: Tensors, name: str) -> Array:
    gain = tensors[name]
    assert isinstance(gain, np.ndarray), name
    return gain

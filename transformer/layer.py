"""One transformer layer: attention, then feed-forward, each added to the hidden states."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pi_cluster.transformer.arithmetic import Array, Weight, linear, rms_norm, swiglu
from pi_cluster.transformer.attention import attend
from pi_cluster.transformer.cache import RollingKVCache
from pi_cluster.transformer.config import LayerConfig
from pi_cluster.transformer.rope import rope_interleaved
from pi_cluster.transformer.shapes import layer_shapes


@dataclass(frozen=True, slots=True)
class Span:
    """Rows ``start_row:stop_row`` of a step: consecutive positions of one sequence."""

    start_row: int
    stop_row: int
    position: int
    """Position of the first row."""


class Layer:
    """The weights of one layer and how they are applied.

    Shapes: ``wq (n_heads * head_dim, dim)``, ``wk``, ``wv`` ``(n_kv_heads * head_dim, dim)``,
    ``wo (dim, n_heads * head_dim)``, ``w1``, ``w3`` ``(hidden_dim, dim)``,
    ``w2 (dim, hidden_dim)``; rows of ``wq`` and ``wk`` in interleaved rotary order.
    """

    def __init__(self, layer: LayerConfig, eps: float, tensors: Mapping[str, Weight]) -> None:
        self._config = layer
        self._eps = eps
        (
            self._attention_norm,
            self._wq,
            self._wk,
            self._wv,
            self._wo,
            self._ffn_norm,
            self._w1,
            self._w2,
            self._w3,
        ) = (tensors[name] for name in layer_shapes(layer, 1))

    def forward(
        self,
        hidden: Array,
        angles: tuple[Array, Array],
        spans: Sequence[Span],
        caches: Sequence[RollingKVCache],
    ) -> Array:
        """Run the layer on a step and store the step's keys and values.

        Shapes: ``hidden (rows, dim)``, ``angles`` two of ``(rows, head_dim // 2)``, one cache a
        span -> ``(rows, dim)``.
        """
        eps = self._eps
        normed = rms_norm(hidden, self._attention_norm, eps)
        hidden = hidden + linear(self._attention(normed, angles, spans, caches), self._wo)
        normed = rms_norm(hidden, self._ffn_norm, eps)
        return hidden + swiglu(normed, self._w1, self._w2, self._w3)

    def _attention(
        self,
        normed: Array,
        angles: tuple[Array, Array],
        spans: Sequence[Span],
        caches: Sequence[RollingKVCache],
    ) -> Array:
        config, rows = self._config, len(normed)
        queries = linear(normed, self._wq).reshape(rows, config.n_heads, config.head_dim)
        keys = linear(normed, self._wk).reshape(rows, config.n_kv_heads, config.head_dim)
        values = linear(normed, self._wv).reshape(rows, config.n_kv_heads, config.head_dim)
        queries, keys = rope_interleaved(queries, *angles), rope_interleaved(keys, *angles)

        mixed = np.empty((rows, config.n_heads * config.head_dim), np.float32)
        for span, cache in zip(spans, caches, strict=True):
            part = slice(span.start_row, span.stop_row)
            # Store first: a query sees its own key and those of the rows before it.
            cache.append(keys[part], values[part])
            mixed[part] = attend(queries[part], cache, span.position, config.window)
        return mixed

"""One transformer layer: attention, then feed-forward, each added to the hidden states."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pi_cluster.transformer.arithmetic import Array, rms_norm, swiglu
from pi_cluster.transformer.attention import attend
from pi_cluster.transformer.cache import RollingKVCache
from pi_cluster.transformer.config import LayerConfig
from pi_cluster.transformer.rope import Angles, rope_interleaved


@dataclass(frozen=True, slots=True)
class Span:
    """Rows ``start_row:stop_row`` of a step: consecutive positions of one sequence."""

    start_row: int
    stop_row: int
    position: int
    """Position of the first row."""


Multiply = Callable[[Array, str], Array]
"""Multiplies each row by a layer's matrix of this name, such as ``attention.wq.weight``.

Shapes: ``(rows, columns)`` -> ``(rows, the matrix's rows)``.
"""


class Layer:
    """One layer: in which order its weights are applied.

    These are the tensors that ``shapes.layer_shapes`` lists; rows of ``wq`` and ``wk``, with their
    biases and gains, in interleaved rotary order. Vectors are given, and whoever multiplies has the
    matrices, wherever they are. A bias is added to the finished product. Heads of queries and keys
    are normalised, then turned.
    """

    def __init__(
        self,
        config: LayerConfig,
        norm_eps: float,
        vectors: Mapping[str, Array],
        multiply: Multiply,
    ) -> None:
        self._config = config
        self._norm_eps = norm_eps
        self._vectors = vectors
        self._multiply = multiply

    def forward(
        self,
        hidden: Array,
        angles: Angles,
        spans: Sequence[Span],
        caches: Sequence[RollingKVCache],
    ) -> Array:
        """Run the layer on a step and store the step's keys and values.

        Shapes: ``hidden (rows, dim)``, one cache a span -> ``(rows, dim)``.
        """
        normed = self._norm(hidden, "attention_norm")
        mixed = self._attention(normed, angles, spans, caches)
        hidden = hidden + self._linear(mixed, "attention.wo")
        normed = self._norm(hidden, "ffn_norm")
        gate, up = (self._linear(normed, f"feed_forward.{name}") for name in ("w1", "w3"))
        return hidden + self._linear(swiglu(gate, up), "feed_forward.w2")

    def _attention(
        self,
        normed: Array,
        angles: Angles,
        spans: Sequence[Span],
        caches: Sequence[RollingKVCache],
    ) -> Array:
        config = self._config
        queries, keys, values = (
            self._linear(normed, f"attention.{name}").reshape(len(normed), -1, config.head_dim)
            for name in ("wq", "wk", "wv")
        )
        if config.qk_norm:
            queries = self._norm(queries, "attention.q_norm")
            keys = self._norm(keys, "attention.k_norm")
        if config.rope_table is not None:
            cos, sin = angles[config.rope_table]
            queries, keys = rope_interleaved(queries, cos, sin), rope_interleaved(keys, cos, sin)

        mixed = np.empty((len(normed), config.query_dim), np.float32)
        for span, cache in zip(spans, caches, strict=True):
            part = slice(span.start_row, span.stop_row)
            # Store first: a query sees its own key and those of the rows before it.
            cache.append(keys[part], values[part])
            mixed[part] = attend(
                queries[part], cache, span.position, config.window, config.query_scale
            )
        return mixed

    def _linear(self, x: Array, name: str) -> Array:
        product = self._multiply(x, f"{name}.weight")
        bias = self._vectors.get(f"{name}.bias")
        return product if bias is None else product + bias

    def _norm(self, x: Array, name: str) -> Array:
        return rms_norm(x, self._vectors[f"{name}.weight"], self._norm_eps)

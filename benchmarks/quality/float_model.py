"""A whole model in plain float32, one passage at a time, each product a single call of BLAS.

The benchmark's own arithmetic: every format is judged by it, so that figures differ by the weights
alone. It also computes Gemma 3, which the product does not. Its sums have no fixed order, so their
last bits are the machine's; a test holds it against the product's specification.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from pi_cluster.shard_tool.sources.names import layer_tensor
from pi_cluster.transformer.arithmetic import Array, rms_norm, silu
from pi_cluster.transformer.attention import visible
from pi_cluster.transformer.config import LayerConfig, ModelConfig
from pi_cluster.transformer.rope import rope_angles, rope_interleaved

MATRICES = (
    *(f"attention.{name}.weight" for name in ("wq", "wk", "wv", "wo")),
    *(f"feed_forward.{name}.weight" for name in ("w1", "w2", "w3")),
)
"""Of each layer, by their names within it."""
ATTENTION_POST_NORM, FFN_POST_NORM = "attention_post_norm.weight", "ffn_post_norm.weight"
"""Gains that Gemma 3 has behind a block, before it is added to the hidden states."""

OnInput = Callable[[str, Array], None]
"""Told a matrix's whole name and the rows that it multiplies."""


@dataclass(frozen=True, slots=True)
class FloatWeights:
    """All tensors by Mistral's whole names; matrices float32, rotary rows interleaved."""

    config: ModelConfig
    tensors: Mapping[str, Array]
    embedding_scale: float = 1.0
    has_gelu: bool = False
    """Whether gates go through GELU's approximation by tanh, and not through SiLU."""

    def with_tensors(self, tensors: Mapping[str, Array]) -> Self:
        """The same model but for these tensors."""
        return replace(self, tensors={**self.tensors, **tensors})

    def layer_matrices(self) -> list[str]:
        """The whole names of what the formats are chosen for."""
        layers = range(self.config.n_layers)
        return [layer_tensor(layer, name) for layer in layers for name in MATRICES]


class FloatModel:
    """``coordinator.evaluating.divergence.Reference`` in float32."""

    def __init__(self, weights: FloatWeights, on_input: OnInput | None = None) -> None:
        self._weights = weights
        self._on_input = on_input

    def states(self, ids: Sequence[int]) -> Array:
        """Hidden states behind the last layer. Shapes: ``(n,)`` -> ``(n, dim)``."""
        return self.through(self.embedded(ids), range(self._weights.config.n_layers))

    def embedded(self, ids: Sequence[int]) -> Array:
        """Hidden states before the first layer. Shapes: ``(n,)`` -> ``(n, dim)``."""
        rows: Array = self._weights.tensors["tok_embeddings.weight"][np.array(ids)]
        return rows * np.float32(self._weights.embedding_scale)

    def through(self, hidden: Array, layers: Iterable[int]) -> Array:
        """Run some layers, one after another, on the positions of a text from its first."""
        for layer in layers:
            hidden = hidden + self._block(layer, hidden, "attention_norm", self._attention)
            hidden = hidden + self._block(layer, hidden, "ffn_norm", self._feed_forward)
        return hidden

    def logits(self, states: Array) -> Array:
        """Final norm and head. Shapes: ``(rows, dim)`` -> ``(rows, vocab_size)``."""
        weights = self._weights
        normed = rms_norm(states, weights.tensors["norm.weight"], weights.config.norm_eps)
        product: Array = normed @ weights.tensors["output.weight"].T
        return product

    def _block(
        self, layer: int, hidden: Array, norm: str, block: Callable[[int, Array], Array]
    ) -> Array:
        out = block(layer, self._normed(layer, f"{norm}.weight", hidden))
        post = {"attention_norm": ATTENTION_POST_NORM, "ffn_norm": FFN_POST_NORM}[norm]
        has_post = layer_tensor(layer, post) in self._weights.tensors
        return self._normed(layer, post, out) if has_post else out

    def _attention(self, layer: int, normed: Array) -> Array:
        config, rows = self._weights.config.layers[layer], len(normed)
        queries, keys, values = (
            self._product(layer, f"attention.{name}.weight", normed).reshape(
                rows, -1, config.head_dim
            )
            for name in ("wq", "wk", "wv")
        )
        if config.qk_norm:
            queries = self._normed(layer, "attention.q_norm.weight", queries)
            keys = self._normed(layer, "attention.k_norm.weight", keys)
        queries, keys = (self._turned(config, heads) for heads in (queries, keys))
        mixed = _attended(config, queries, keys, values)
        return self._product(layer, "attention.wo.weight", mixed)

    def _turned(self, config: LayerConfig, heads: Array) -> Array:
        if config.rope_table is None:
            return heads
        table = self._weights.config.rope_tables[config.rope_table]
        positions = np.arange(len(heads))
        return rope_interleaved(
            heads, *rope_angles(positions, table.rotary_dim, table.theta, table.factors)
        )

    def _feed_forward(self, layer: int, normed: Array) -> Array:
        gate = self._product(layer, "feed_forward.w1.weight", normed)
        up = self._product(layer, "feed_forward.w3.weight", normed)
        opened = (_gelu if self._weights.has_gelu else silu)(gate)
        return self._product(layer, "feed_forward.w2.weight", opened * up)

    def _normed(self, layer: int, name: str, rows: Array) -> Array:
        gain = self._weights.tensors[layer_tensor(layer, name)]
        return rms_norm(rows, gain, self._weights.config.norm_eps)

    def _product(self, layer: int, name: str, rows: Array) -> Array:
        whole = layer_tensor(layer, name)
        if self._on_input:
            self._on_input(whole, rows)
        product: Array = rows @ self._weights.tensors[whole].T
        return product


def _attended(config: LayerConfig, queries: Array, keys: Array, values: Array) -> Array:
    """Shapes: each ``(n, heads, head_dim)`` -> ``(n, n_heads * head_dim)``."""
    rows, group = len(queries), config.n_heads // config.n_kv_heads
    scale = np.float32(config.query_scale or config.head_dim**-0.5)
    positions = np.arange(rows)
    hidden = ~visible(positions, positions, config.window)
    mixed = np.empty_like(queries)
    for head in range(config.n_heads):
        scores = (queries[:, head] * scale) @ keys[:, head // group].T
        scores[hidden] = -np.inf
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        mixed[:, head] = scores @ values[:, head // group] / scores.sum(axis=1, keepdims=True)
    return mixed.reshape(rows, -1)


def _gelu(x: Array) -> Array:
    """By tanh. Source: arXiv:1606.08415."""
    inner = np.float32((2 / np.pi) ** 0.5) * (x + np.float32(0.044715) * x * x * x)
    result: Array = np.float32(0.5) * x * (1 + np.tanh(inner))
    return result

"""The same function in other weights: what was quantised already leaves its grid.

Models that a package index carries are quantised to four bits, so their values lie on such grids as
are to be judged. Both changes here move them off, and leave what the model says as it is:

* :func:`permuted` shuffles the residual stream, the heads' values and the hidden units, and draws
  signs. Each block of 32 neighbours then has values of 32 grids. Outliers stay outliers: the
  columns of a matrix are those that people's checkpoints have, in another order. Nothing here
  mixes two weights, so it suits every model, Gemma's post-norms included.
* :func:`rotated` folds the norms' gains into the matrices that read them and turns the residual
  stream by a random orthogonal matrix. Each weight becomes a mixture of all of its row's or its
  column's, so rows are all but Gaussian: fewer outliers than people's checkpoints have. A gain
  behind a block (Gemma's) cannot be folded, since what it scales is normed before: a random turn
  would not commute with it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.float_model import ATTENTION_POST_NORM, FFN_POST_NORM, FloatWeights
from pi_cluster.shard_tool.sources.names import layer_tensor
from pi_cluster.transformer.arithmetic import Array

_READERS = {
    "attention_norm.weight": tuple(f"attention.{name}.weight" for name in ("wq", "wk", "wv")),
    "ffn_norm.weight": ("feed_forward.w1.weight", "feed_forward.w3.weight"),
}
"""The matrices that read what a gain has scaled."""
_WRITERS = ("attention.wo.weight", "feed_forward.w2.weight")
_MOST_SCALE = 2**0.5


def permuted(weights: FloatWeights, seed: int) -> FloatWeights:
    """Shuffled and with other signs, all along the residual stream and within each layer."""
    draw = np.random.default_rng(seed)
    order, signs = draw.permutation(weights.config.dim), _signs(draw, weights.config.dim)

    def read(matrix: Array) -> Array:
        return matrix[:, order] * signs

    def write(matrix: Array) -> Array:
        return matrix[order] * signs[:, None]

    def gain(vector: Array) -> Array:
        return vector[order]

    changed = _along_the_stream(weights, read, write, gain)
    for layer, config in enumerate(weights.config.layers):
        group = config.n_heads // config.n_kv_heads
        values = _Entries.of_values(draw, config.n_kv_heads, config.head_dim)
        _shuffle(changed, layer, "attention.wv.weight", "attention.wo.weight", values, group)
        units = _Entries.of_units(draw, config.hidden_dim)
        _shuffle(changed, layer, "feed_forward.w3.weight", "feed_forward.w2.weight", units, 1)
        # The gate moves along; a sign would not pass through its activation.
        gate = layer_tensor(layer, "feed_forward.w1.weight")
        changed[gate] = changed[gate][units.order[0]]
    return weights.with_tensors(changed)


def rotated(weights: FloatWeights, seed: int) -> FloatWeights:
    """Without gains, and with the residual stream turned."""
    assert weights.embedding_scale == 1 and not _has_post_norms(weights), "what can be folded"
    turn = _orthogonal(np.random.default_rng(seed), weights.config.dim)

    def read(matrix: Array) -> Array:
        return (matrix @ turn).astype(np.float32)

    def write(matrix: Array) -> Array:
        return (turn.T @ matrix).astype(np.float32)

    return weights.with_tensors(_along_the_stream(_folded(weights), read, write, lambda g: g))


def _folded(weights: FloatWeights) -> FloatWeights:
    """Every gain 1, and in the columns of the matrices behind it instead."""
    tensors = weights.tensors
    changed = {
        "output.weight": tensors["output.weight"] * tensors["norm.weight"],
        "norm.weight": np.ones_like(tensors["norm.weight"]),
    }
    for layer in range(weights.config.n_layers):
        for norm, readers in _READERS.items():
            gain = tensors[layer_tensor(layer, norm)]
            changed[layer_tensor(layer, norm)] = np.ones_like(gain)
            for reader in readers:
                name = layer_tensor(layer, reader)
                changed[name] = tensors[name] * gain
    return weights.with_tensors(changed)


def _along_the_stream(
    weights: FloatWeights,
    read: Callable[[Array], Array],
    write: Callable[[Array], Array],
    gain: Callable[[Array], Array],
) -> dict[str, Array]:
    """Every tensor that has a side in the residual stream, changed there."""
    tensors = weights.tensors
    changed = {"tok_embeddings.weight": read(tensors["tok_embeddings.weight"])}
    is_tied = tensors["output.weight"] is tensors["tok_embeddings.weight"]
    changed["output.weight"] = (
        changed["tok_embeddings.weight"] if is_tied else read(tensors["output.weight"])
    )
    changed["norm.weight"] = gain(tensors["norm.weight"])
    for layer in range(weights.config.n_layers):
        for norm, readers in _READERS.items():
            changed[layer_tensor(layer, norm)] = gain(tensors[layer_tensor(layer, norm)])
            for reader in readers:
                name = layer_tensor(layer, reader)
                changed[name] = read(tensors[name])
        for writer in _WRITERS:
            name = layer_tensor(layer, writer)
            changed[name] = write(tensors[name])
        for post in (ATTENTION_POST_NORM, FFN_POST_NORM):
            if (name := layer_tensor(layer, post)) in tensors:
                changed[name] = gain(tensors[name])
    return changed


@dataclass(frozen=True, slots=True)
class _Entries:
    """What becomes of the entries of some heads. Shapes: both ``(heads, entries of a head)``."""

    order: NDArray[np.intp]
    factors: Array

    @classmethod
    def of_values(cls, draw: np.random.Generator, heads: int, head_dim: int) -> Self:
        """A head has few blocks, whose grids would be told apart: each entry is scaled, too."""
        order = np.stack([draw.permutation(head_dim) for _ in range(heads)])
        scales = _MOST_SCALE ** draw.uniform(-1, 1, order.shape)
        return cls(order, _signs(draw, order.shape) * scales.astype(np.float32))

    @classmethod
    def of_units(cls, draw: np.random.Generator, hidden_dim: int) -> Self:
        """Those of the feed-forward block, which are one head."""
        return cls(draw.permutation(hidden_dim)[None], _signs(draw, (1, hidden_dim)))


def _shuffle(
    changed: dict[str, Array], layer: int, made_by: str, read_by: str, new: _Entries, group: int
) -> None:
    """Move and scale what one matrix makes and another reads, ``group`` times each head."""
    made, read = layer_tensor(layer, made_by), layer_tensor(layer, read_by)
    heads, head_dim = new.order.shape
    rows = new.order + head_dim * np.arange(heads)[:, None]
    changed[made] = changed[made][rows.reshape(-1)] * new.factors.reshape(-1, 1)
    columns = np.repeat(new.order, group, axis=0)
    columns = columns + head_dim * np.arange(len(columns))[:, None]
    factors = np.repeat(new.factors, group, axis=0)
    changed[read] = changed[read][:, columns.reshape(-1)] / factors.reshape(-1)


def _signs(draw: np.random.Generator, shape: int | tuple[int, ...]) -> Array:
    return draw.choice(np.array([-1, 1], np.float32), shape)


def _has_post_norms(weights: FloatWeights) -> bool:
    return layer_tensor(0, ATTENTION_POST_NORM) in weights.tensors


def _orthogonal(draw: np.random.Generator, dim: int) -> NDArray[np.float64]:
    """Drawn evenly from all. Source: Mezzadri, How to generate random matrices, 2007."""
    basis, triangle = np.linalg.qr(draw.normal(size=(dim, dim)))
    turn: NDArray[np.float64] = basis * np.sign(np.diag(triangle))
    return turn

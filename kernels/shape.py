"""The shape of a layer: what C must know of it before it sees a weight."""

import math
from dataclasses import dataclass

import numpy as np

from pi_cluster.kernels.errors import ShapeError
from pi_cluster.kernels.library import HeadsStruct
from pi_cluster.kernels.tiles import KEY_TILE

MAX_HEAD_DIM = 256
_MAX_SIZE = 2**24  # far above any model; keeps every product within 64 bits
_MAX_ROPE_TABLES = 64
_VECTOR = 16


def usual_query_scale(head_dim: int) -> float:
    """``head_dim ** -0.5``, rounded as C rounds it on every machine."""
    return float(np.float32(1) / np.sqrt(np.float32(head_dim)))


@dataclass(frozen=True, slots=True)
class LayerShape:
    """Sizes of a layer, which operations it has, and the slots of each cache.

    ``window`` is None where every earlier position is seen. ``capacity`` is a multiple of
    ``KEY_TILE``, at least the window and the largest step together. ``rope_table`` says by which of
    a step's angles heads are turned, None by none; ``rotary_dim`` how many entries of each head,
    None all. ``query_scale`` is ``head_dim ** -0.5`` unless given.
    """

    dim: int
    hidden_dim: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    norm_eps: float
    window: int | None
    capacity: int
    rope_table: int | None = 0
    rotary_dim: int | None = None
    query_scale: float | None = None
    qkv_bias: bool = False
    o_bias: bool = False
    qk_norm: bool = False

    def __post_init__(self) -> None:
        for name in ("dim", "hidden_dim", "n_heads", "n_kv_heads", "head_dim", "capacity"):
            if not 0 < getattr(self, name) <= _MAX_SIZE:
                raise ShapeError(f"{name} is {getattr(self, name)}; it must be 1 to {_MAX_SIZE}")
        if self.n_heads % self.n_kv_heads:
            raise ShapeError(f"{self.n_heads} heads cannot share {self.n_kv_heads} of keys equally")
        if self.head_dim % 2 or self.head_dim > MAX_HEAD_DIM:
            raise ShapeError(f"head_dim is {self.head_dim}; it must be even, up to {MAX_HEAD_DIM}")
        if self.capacity % KEY_TILE:
            raise ShapeError(f"capacity is {self.capacity}, not a multiple of {KEY_TILE}")
        if self.window is not None and not 0 < self.window <= self.capacity:
            raise ShapeError(f"window is {self.window}; it must be 1 to {self.capacity}")
        if self.rope_table is not None and not 0 <= self.rope_table < _MAX_ROPE_TABLES:
            raise ShapeError(f"rope_table is {self.rope_table}; there can be {_MAX_ROPE_TABLES}")
        turned = self.rotary_dim
        if turned is not None and (turned % 2 or not 0 < turned <= self.head_dim):
            raise ShapeError(f"rotary_dim is {turned}; it must be even, from 2 to {self.head_dim}")
        scale = self.query_scale
        if scale is not None and not (math.isfinite(scale) and scale > 0):
            raise ShapeError(f"query_scale is {scale}; it must be a number above 0")

    @property
    def cache_bytes_per_layer(self) -> int:
        """Bytes of one sequence's full-grown cache at one layer."""
        padded = -(-self.head_dim // _VECTOR) * _VECTOR
        return 2 * self.n_kv_heads * self.capacity * (self.head_dim + padded)

    @property
    def rotary_pairs(self) -> int:
        """Pairs of neighbouring entries of a head that are turned."""
        if self.rope_table is None:
            return 0
        return (self.rotary_dim or self.head_dim) // 2

    def weights(self) -> dict[str, tuple[int, ...]]:
        """The weights that such a layer has, by the names in ``struct layer``, and their shapes.

        Rows of wq and wk, with their biases and gains, are in interleaved rotary order.
        """
        query, key = self.n_heads * self.head_dim, self.n_kv_heads * self.head_dim
        shapes: dict[str, tuple[int, ...]] = {
            "attention_norm": (self.dim,),
            "wq": (query, self.dim),
            "wk": (key, self.dim),
            "wv": (key, self.dim),
            "wo": (self.dim, query),
            "ffn_norm": (self.dim,),
            "w1": (self.hidden_dim, self.dim),
            "w2": (self.dim, self.hidden_dim),
            "w3": (self.hidden_dim, self.dim),
        }
        if self.qkv_bias:
            shapes |= {"bq": (query,), "bk": (key,), "bv": (key,)}
        if self.o_bias:
            shapes |= {"bo": (self.dim,)}
        if self.qk_norm:
            shapes |= {"q_norm": (self.head_dim,), "k_norm": (self.head_dim,)}
        return shapes

    def heads(self, cache_offset: int) -> HeadsStruct:
        """As C sees its attention; its caches begin ``cache_offset`` bytes into a sequence's."""
        return HeadsStruct(
            window=self.window or 0,
            capacity=self.capacity,
            cache_offset=cache_offset // 2,
            n_heads=self.n_heads,
            n_kv_heads=self.n_kv_heads,
            head_dim=self.head_dim,
            query_scale=self.query_scale or usual_query_scale(self.head_dim),
        )

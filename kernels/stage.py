"""Whole layers in one call: a step's hidden states through all the layers of a stage."""

import ctypes
import mmap
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pi_cluster.kernels.cache import KVCache, LayerShape
from pi_cluster.kernels.engine import MAX_ROWS, Array, Engine, as_rows, as_vector
from pi_cluster.kernels.errors import ShapeError
from pi_cluster.kernels.library import LayerStruct, SpanStruct, StepStruct, compiled
from pi_cluster.kernels.matrix import Matrix

_MATRICES = ("wq", "wk", "wv", "wo", "w1", "w2", "w3")


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """The weights of one layer, by Mistral's names; wq and wk in interleaved rotary order."""

    attention_norm: Array
    wq: Matrix
    wk: Matrix
    wv: Matrix
    wo: Matrix
    ffn_norm: Array
    w1: Matrix
    w2: Matrix
    w3: Matrix


@dataclass(frozen=True, slots=True)
class Part:
    """The next ``rows`` positions of the sequence whose cache this is."""

    cache: KVCache
    rows: int


class Layers:
    """The layers of a stage, ready to run.

    Raises ``ShapeError`` for a weight that does not have the shape its place asks for. Memory
    beyond the weights is ``scratch_bytes``, most of it touched only by steps of many rows.
    """

    def __init__(
        self, engine: Engine, shape: LayerShape, layers: Sequence[LayerWeights], max_rows: int
    ) -> None:
        if not 0 < max_rows <= MAX_ROWS:
            raise ShapeError(f"steps of {max_rows} rows; there can be 1 to {MAX_ROWS}")
        self.engine = engine
        self.shape = shape
        self.max_rows = max_rows
        self._library = compiled()
        self._layers = [_checked(shape, index, layer) for index, layer in enumerate(layers)]
        self._structs = (LayerStruct * len(layers))(*map(_struct, self._layers))
        self._shape_struct = shape.struct()
        self.scratch_bytes: int = self._library.kernels_scratch_bytes(
            engine.handle, ctypes.byref(self._shape_struct), max_rows
        )
        # A mapping, so that pages which only large steps need are there only after large steps.
        self._scratch = np.frombuffer(mmap.mmap(-1, self.scratch_bytes), np.uint8)
        self._lock = threading.Lock()

    def new_cache(self) -> KVCache:
        """The empty cache of one sequence at these layers."""
        return KVCache(self.shape, len(self._layers))

    def forward(self, hidden: Array, cos: Array, sin: Array, parts: Sequence[Part]) -> Array:
        """Run the layers on a step and extend each part's cache.

        Shapes: ``hidden (rows, dim)``, the parts' rows one after another, ``cos``, ``sin`` of
        their positions ``(rows, head_dim / 2)`` -> ``(rows, dim)``. Raises ``ShapeError``.
        """
        hidden = as_rows("hidden", hidden, self.shape.dim).copy()
        rows, half = len(hidden), self.shape.head_dim // 2
        cos, sin = as_rows("cos", cos, half), as_rows("sin", sin, half)
        if rows > self.max_rows or not len(cos) == len(sin) == rows:
            raise ShapeError(
                f"{rows} rows with {len(cos)} cosines and {len(sin)} sines; "
                f"a step takes up to {self.max_rows}"
            )
        spans = self._spans(parts, rows)
        step = StepStruct(
            hidden=hidden.ctypes.data,
            cos=cos.ctypes.data,
            sin=sin.ctypes.data,
            spans=spans,
            scratch=self._scratch.ctypes.data,
            rows=rows,
            n_spans=len(parts),
        )
        with self._lock:
            self._library.kernels_stage(
                *(self.engine.handle, ctypes.byref(self._shape_struct)),
                *(self._structs, len(self._layers), ctypes.byref(step)),
            )
        for part in parts:
            part.cache.advance(part.rows)
        return hidden

    def _spans(self, parts: Sequence[Part], rows: int) -> "ctypes.Array[SpanStruct]":
        if sum(part.rows for part in parts) != rows or any(part.rows < 1 for part in parts):
            raise ShapeError(f"parts of {[part.rows for part in parts]} rows in a step of {rows}")
        if len({id(part.cache) for part in parts}) != len(parts):
            raise ShapeError("a sequence may be in a step only once")
        spans, row = (SpanStruct * len(parts))(), 0
        for span, part in zip(spans, parts, strict=True):
            cache = part.cache
            if cache.shape != self.shape or cache.layers != len(self._layers):
                raise ShapeError("a cache of other layers")
            cache.check_room(part.rows)
            span.cache, span.position = cache.address, cache.length
            span.start_row, span.stop_row = row, row + part.rows
            row += part.rows
        return spans


def _checked(shape: LayerShape, index: int, layer: LayerWeights) -> LayerWeights:
    query, key = shape.n_heads * shape.head_dim, shape.n_kv_heads * shape.head_dim
    wanted = {
        "wq": (query, shape.dim),
        "wk": (key, shape.dim),
        "wv": (key, shape.dim),
        "wo": (shape.dim, query),
        "w1": (shape.hidden_dim, shape.dim),
        "w2": (shape.dim, shape.hidden_dim),
        "w3": (shape.hidden_dim, shape.dim),
    }
    for name, (rows, columns) in wanted.items():
        matrix: Matrix = getattr(layer, name)
        if (matrix.rows, matrix.columns) != (rows, columns):
            raise ShapeError(
                f"{name} of layer {index} is {matrix.rows} x {matrix.columns}, "
                f"not {rows} x {columns}"
            )
    return replace(
        layer,
        attention_norm=as_vector(f"attention_norm of {index}", layer.attention_norm, shape.dim),
        ffn_norm=as_vector(f"ffn_norm of {index}", layer.ffn_norm, shape.dim),
    )


def _struct(layer: LayerWeights) -> LayerStruct:
    return LayerStruct(
        attention_norm=layer.attention_norm.ctypes.data,
        ffn_norm=layer.ffn_norm.ctypes.data,
        **{name: getattr(layer, name).struct() for name in _MATRICES},
    )

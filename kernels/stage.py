"""Whole layers in one call: a step's hidden states through all the layers of a stage."""

import ctypes
import mmap
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pi_cluster.kernels.cache import KVCache
from pi_cluster.kernels.engine import MAX_ROWS, Array, Engine, as_rows, as_vector
from pi_cluster.kernels.errors import ShapeError
from pi_cluster.kernels.library import (
    LayerStruct,
    RotationStruct,
    ShapeStruct,
    SpanStruct,
    StepStruct,
    compiled,
)
from pi_cluster.kernels.matrix import Matrix
from pi_cluster.kernels.shape import LayerShape

LayerWeights = Mapping[str, Matrix | Array]
"""A layer's weights by the names of ``LayerShape.weights``."""

Angles = Mapping[int, tuple[Array, Array]]
"""Cosines and sines of a step's rows by rope table, each ``(rows, rotary_dim / 2)``."""


@dataclass(frozen=True, slots=True)
class Part:
    """The next ``rows`` positions of the sequence whose cache this is."""

    cache: KVCache
    rows: int


class Layers:
    """The layers of a stage, ready to run.

    Raises ``ShapeError`` for a weight that its layer's shape does not have, or has otherwise.
    Memory beyond the weights is ``scratch_bytes``, most of it touched only by steps of many rows.
    """

    def __init__(
        self,
        engine: Engine,
        shapes: Sequence[LayerShape],
        weights: Sequence[LayerWeights],
        max_rows: int,
    ) -> None:
        if not 0 < max_rows <= MAX_ROWS:
            raise ShapeError(f"steps of {max_rows} rows; there can be 1 to {MAX_ROWS}")
        if len(shapes) != len(weights) or not shapes:
            raise ShapeError(f"{len(shapes)} shapes and the weights of {len(weights)} layers")
        self.engine = engine
        self.shapes = tuple(shapes)
        self.max_rows = max_rows
        self._library = compiled()
        self._shape_struct = _shape_struct(shapes)
        self._rotary_pairs = _rotary_pairs(shapes)
        self._weights = [
            _checked(shape, index, layer)
            for index, (shape, layer) in enumerate(zip(shapes, weights, strict=True))
        ]
        layout = self.new_cache()
        self._structs = (LayerStruct * len(shapes))(
            *(
                _struct(layout, index, layer, shape)
                for index, (shape, layer) in enumerate(zip(shapes, self._weights, strict=True))
            )
        )
        self.scratch_bytes: int = self._library.kernels_scratch_bytes(
            engine.handle, ctypes.byref(self._shape_struct), max_rows
        )
        # A mapping, so that pages which only large steps need are there only after large steps.
        self._scratch = np.frombuffer(mmap.mmap(-1, self.scratch_bytes), np.uint8)
        self._lock = threading.Lock()

    def new_cache(self) -> KVCache:
        """The empty cache of one sequence at these layers."""
        return KVCache(self.shapes)

    def forward(self, hidden: Array, angles: Angles, parts: Sequence[Part]) -> Array:
        """Run the layers on a step and extend each part's cache.

        Shapes: ``hidden (rows, dim)``, the parts' rows one after another, ``angles`` of their
        positions for each rope table that a layer names -> ``(rows, dim)``. Raises ``ShapeError``.
        """
        hidden = as_rows("hidden", hidden, self._shape_struct.dim).copy()
        rows = len(hidden)
        if rows > self.max_rows:
            raise ShapeError(f"{rows} rows; a step takes up to {self.max_rows}")
        kept = self._checked_angles(angles, rows)  # alive until C is back
        rotations = (RotationStruct * (max(kept, default=0) + 1))()
        for table, (cos, sin) in kept.items():
            rotations[table] = RotationStruct(cos.ctypes.data, sin.ctypes.data, cos.shape[1])
        step = StepStruct(
            hidden=hidden.ctypes.data,
            rotations=rotations,
            spans=self._spans(parts, rows),
            scratch=self._scratch.ctypes.data,
            rows=rows,
            n_spans=len(parts),
        )
        with self._lock:
            self._library.kernels_stage(
                *(self.engine.handle, ctypes.byref(self._shape_struct)),
                *(self._structs, len(self.shapes), ctypes.byref(step)),
            )
        for part in parts:
            part.cache.advance(part.rows)
        return hidden

    def _checked_angles(self, angles: Angles, rows: int) -> dict[int, tuple[Array, Array]]:
        checked = {}
        for table, pairs in self._rotary_pairs.items():
            if table not in angles:
                raise ShapeError(f"a step without the angles of rope table {table}")
            cos, sin = (as_rows("angles", part, pairs) for part in angles[table])
            if not len(cos) == len(sin) == rows:
                raise ShapeError(f"{rows} rows with {len(cos)} cosines and {len(sin)} sines")
            checked[table] = cos, sin
        return checked

    def _spans(self, parts: Sequence[Part], rows: int) -> "ctypes.Array[SpanStruct]":
        if sum(part.rows for part in parts) != rows or any(part.rows < 1 for part in parts):
            raise ShapeError(f"parts of {[part.rows for part in parts]} rows in a step of {rows}")
        if len({id(part.cache) for part in parts}) != len(parts):
            raise ShapeError("a sequence may be in a step only once")
        spans, row = (SpanStruct * len(parts))(), 0
        for span, part in zip(spans, parts, strict=True):
            cache = part.cache
            if cache.shapes != self.shapes:
                raise ShapeError("a cache of other layers")
            cache.check_room(part.rows)
            span.cache, span.position = cache.address, cache.length
            span.start_row, span.stop_row = row, row + part.rows
            row += part.rows
        return spans


def _shape_struct(shapes: Sequence[LayerShape]) -> ShapeStruct:
    """What all layers share, and room for the widest of each kind."""
    if len({(shape.dim, shape.norm_eps) for shape in shapes}) > 1:
        raise ShapeError("layers of one stage differ in dim or norm_eps")
    return ShapeStruct(
        dim=shapes[0].dim,
        most_queries=max(shape.n_heads * shape.head_dim for shape in shapes),
        most_keys=max(shape.n_kv_heads * shape.head_dim for shape in shapes),
        most_hidden=max(shape.hidden_dim for shape in shapes),
        norm_eps=shapes[0].norm_eps,
    )


def _rotary_pairs(shapes: Sequence[LayerShape]) -> dict[int, int]:
    """How wide each rope table is."""
    pairs: dict[int, int] = {}
    for shape in shapes:
        if shape.rope_table is None:
            continue
        if pairs.setdefault(shape.rope_table, shape.rotary_pairs) != shape.rotary_pairs:
            raise ShapeError(f"layers read rope table {shape.rope_table} at different widths")
    return pairs


def _checked(shape: LayerShape, index: int, layer: LayerWeights) -> dict[str, Matrix | Array]:
    wanted = shape.weights()
    checked: dict[str, Matrix | Array] = {}
    for name in sorted(wanted.keys() ^ layer.keys()):
        lacks = "lacks" if name in wanted else "does not have"
        raise ShapeError(f"layer {index} {lacks} {name}")
    for name, sides in wanted.items():
        weight: Any = layer[name]
        if len(sides) == 1:
            checked[name] = as_vector(f"{name} of layer {index}", weight, *sides)
            continue
        rows, columns = sides
        if (weight.rows, weight.columns) != (rows, columns):
            raise ShapeError(
                f"{name} of layer {index} is {weight.rows} x {weight.columns}, "
                f"not {rows} x {columns}"
            )
        checked[name] = weight
    return checked


def _struct(layout: KVCache, index: int, layer: LayerWeights, shape: LayerShape) -> LayerStruct:
    return LayerStruct(
        heads=layout.heads(index),
        rotation=-1 if shape.rope_table is None else shape.rope_table,
        **{
            name: weight.struct() if isinstance(weight, Matrix) else weight.ctypes.data
            for name, weight in layer.items()
        },
    )

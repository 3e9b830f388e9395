"""How many bytes a model's weights take in a format, before there is a store."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from pi_cluster.kernels import packed_bytes
from pi_cluster.transformer.config import ModelConfig
from pi_cluster.transformer.formats import (
    WeightFormats,
    embedding_formats,
    head_formats,
    layer_formats,
)
from pi_cluster.transformer.shapes import Shapes, embedding_shapes, head_shapes, layer_shapes

_FLOAT_BYTES = 4


@dataclass(frozen=True, slots=True)
class WeightBytes:
    """Of each file of a store, the tensors alone."""

    embedding: int
    layers: tuple[int, ...]
    head: int

    @property
    def all(self) -> int:
        """Of the whole store."""
        return self.embedding + sum(self.layers) + self.head


def weight_bytes(config: ModelConfig, formats: WeightFormats) -> WeightBytes:
    """The bytes of a model of this shape in ``formats``."""
    return WeightBytes(
        embedding=_bytes(embedding_shapes(config), embedding_formats(config, formats)),
        layers=tuple(
            _bytes(layer_shapes(layer, config.dim), layer_formats(config, index, formats))
            for index, layer in enumerate(config.layers)
        ),
        head=_bytes(head_shapes(config), head_formats(config, formats)),
    )


def _bytes(shapes: Shapes, formats: Mapping[str, str]) -> int:
    """Vectors are float32."""
    return sum(
        packed_bytes(formats[name], *shape) if len(shape) > 1 else _FLOAT_BYTES * math.prod(shape)
        for name, shape in shapes.items()
    )

"""In which format each tensor of a store is kept, and what of it a file holds.

Gains and biases are float32 everywhere. Matrices are in the format or the mixture that was asked
for, except where its blocks do not fit: a matrix whose columns are not a multiple of 32 is kept in
float16.
"""

from dataclasses import dataclass
from typing import Self

from pi_cluster.kernels import BLOCK_COLUMNS, PACKABLE_FORMATS, packed_bytes
from pi_cluster.transformer.config import ModelConfig
from pi_cluster.transformer.errors import UnsupportedModel
from pi_cluster.transformer.mixtures import MIXTURES, Q4M, matrix_format
from pi_cluster.transformer.shapes import Shapes, embedding_shapes, head_shapes, layer_shapes

_SAFETENSORS_DTYPES = {"f32": "F32", "f16": "F16"}
_IN_BLOCKS = ("q8", "q4", "q4n")
_USUAL_OUTER = {"f32": "f32", "f16": "f16"}
_OUTER_OF_BLOCKS = "q8"


@dataclass(frozen=True, slots=True)
class WeightFormats:
    """The formats of a store's matrices, each one of ``kernels.PACKABLE_FORMATS``."""

    layers: str = Q4M
    """Or one of ``MIXTURES``."""
    outer: str = _OUTER_OF_BLOCKS
    """Of the embedding and the head, which are worth more bits than the layers."""

    @classmethod
    def choose(cls, layers: str, outer: str | None = None) -> Self:
        """Formats by name. Raises ``UnsupportedModel`` for one that does not exist."""
        outer = outer or _USUAL_OUTER.get(layers, _OUTER_OF_BLOCKS)
        for name, known in (
            (layers, (*PACKABLE_FORMATS, *MIXTURES)),
            (outer, PACKABLE_FORMATS),
        ):
            if name not in known:
                raise UnsupportedModel(
                    f"weights {name!r} are not known; known are {', '.join(known)}"
                )
        return cls(layers, outer)


def tensor_format(shape: tuple[int, ...], weights: str) -> str:
    """The format of one tensor in a store of ``weights``, one of ``kernels.PACKABLE_FORMATS``."""
    if len(shape) == 1:
        return "f32"
    if weights in _IN_BLOCKS and shape[1] % BLOCK_COLUMNS:
        return "f16"
    return weights


def stored_as(shape: tuple[int, ...], form: str) -> tuple[str, tuple[int, ...]]:
    """The safetensors dtype and shape of a tensor in format ``form``: blocks are plain bytes."""
    if form in _SAFETENSORS_DTYPES:
        return _SAFETENSORS_DTYPES[form], shape
    return "U8", (packed_bytes(form, *shape),)


def embedding_formats(config: ModelConfig, formats: WeightFormats) -> dict[str, str]:
    """The formats of the first shard's tensors."""
    return _all_in(embedding_shapes(config), formats.outer)


def layer_formats(config: ModelConfig, index: int, formats: WeightFormats) -> dict[str, str]:
    """The formats of one layer's tensors."""
    return {
        name: tensor_format(shape, matrix_format(formats.layers, name, index, config.n_layers))
        for name, shape in layer_shapes(config.layers[index], config.dim).items()
    }


def head_formats(config: ModelConfig, formats: WeightFormats) -> dict[str, str]:
    """The formats of the last shard's tensors."""
    return _all_in(head_shapes(config), formats.outer)


def _all_in(shapes: Shapes, weights: str) -> dict[str, str]:
    return {name: tensor_format(shape, weights) for name, shape in shapes.items()}

"""What is known of how much each column of a model's matrices counts.

A matrix multiplies its input, so a weight's error counts as much as the input of its column is
large: the mean of its squares over some text.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pi_cluster.shard_tool.origin import WeighedBy
from pi_cluster.shard_tool.sources.checkpoint import Checkpoint
from pi_cluster.shard_tool.sources.names import layer_tensor, tensor_shapes
from pi_cluster.transformer.config import ModelConfig

Array = NDArray[np.float32]

_LOOKED_UP = "tok_embeddings.weight"  # nothing is multiplied by it


@dataclass(frozen=True, slots=True)
class Importance:
    """Of each matrix that is known, by Mistral's whole name, what each column counts.

    Shapes: ``(columns,)``, finite and not negative.
    """

    origin: WeighedBy
    means: Mapping[str, Array]

    def of(self, name: str, layer: int | None = None) -> Array | None:
        """Of a tensor by its whole name, or with ``layer`` by its name in that one's shard."""
        return self.means.get(name if layer is None else layer_tensor(layer, name))


class ImportanceSource(Protocol):
    """Who knows how much the columns of a model's matrices count."""

    @property
    def identity(self) -> str:
        """What it will say depends on this and the checkpoint alone."""
        ...

    def importance(self, checkpoint: Checkpoint) -> Importance:
        """Have it. Raises ``CheckpointError`` where it is not that of such a model."""
        ...


def weighable(config: ModelConfig) -> dict[str, int]:
    """The matrices that multiply an input, by Mistral's whole names, and their columns."""
    shapes = tensor_shapes(config).items()
    return {name: shape[1] for name, shape in shapes if len(shape) == 2 and name != _LOOKED_UP}

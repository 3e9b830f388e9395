"""What a family of models says of itself: what is its own, and nothing that all of them share.

A file of configuration is read in two halves. What all families have in common makes one plain
layer (``config_json.py``, ``gguf_metadata.py``); the family then asks for the keys that it alone
understands, and says what each of its layers is.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pi_cluster.transformer.config import LayerConfig, ModelConfig
from pi_cluster.transformer.families.config_keys import ConfigKeys
from pi_cluster.transformer.families.tensor_forms import HUGGING_FACE, TensorForm

Layers = tuple[LayerConfig, ...]
LayersOf = Callable[[ConfigKeys, LayerConfig, int], Layers]
"""Keys, the plain layer and the number of layers -> every layer.

The plain one has heads and sizes, sees all positions, is turned by table 0, and has no biases (of a
GGUF: those that the file has) and no norms of queries and keys. Raises ``UnsupportedModel``.
"""


def all_alike(layer: LayerConfig, n_layers: int) -> Layers:
    """A model whose layers are all the same."""
    return (layer,) * n_layers


@dataclass(frozen=True, slots=True)
class GgufFamily:
    """A family as llama.cpp knows it: its names for it, its tensors, and what no key says.

    ``layers`` makes every layer of the plain one and their number.
    """

    architectures: tuple[str, ...]
    tensors: TensorForm
    layers: Callable[[LayerConfig, int], Layers] = all_alike


@dataclass(frozen=True, slots=True)
class Family:
    """``architecture`` and ``model_type`` are as ``config.json`` has them.

    ``defaults`` is what transformers takes for keys of ``config.json`` that are not there;
    ``layers`` reads the keys of that file that are the family's own.
    """

    architecture: str
    model_type: str
    defaults: Mapping[str, Any]
    layers: LayersOf
    gguf: GgufFamily | None
    hugging_face: TensorForm = HUGGING_FACE


@dataclass(frozen=True, slots=True)
class ReadConfig:
    """What a file of configuration says of a model.

    ``tied``: the head is the embedding. ``notes`` are sentences on what was assumed.
    """

    config: ModelConfig
    tied: bool
    family: Family
    notes: tuple[str, ...]

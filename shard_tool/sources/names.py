"""What each tensor of a whole checkpoint is called here; a family says what its files call it."""

from pi_cluster.transformer.config import ModelConfig
from pi_cluster.transformer.shapes import Shapes, embedding_shapes, head_shapes, layer_shapes

IGNORED_SUFFIXES = ("rotary_emb.inv_freq", "rope.freqs", "rope_freqs.weight")
"""Tables of rotary frequencies: they follow from the configuration, or are read with it."""


def tensor_shapes(config: ModelConfig) -> Shapes:
    """The tensors' shapes by Mistral's names, ``layers.0.attention.wq.weight`` and so on.

    Matrices are ``(out features, in features)``, as all forms keep them.
    """
    shapes = embedding_shapes(config)
    for index, layer in enumerate(config.layers):
        of_layer = layer_shapes(layer, config.dim)
        shapes |= {layer_tensor(index, short): shape for short, shape in of_layer.items()}
    return shapes | head_shapes(config)


def layer_tensor(layer: int, short: str) -> str:
    """Mistral's whole name of a layer's tensor."""
    return f"layers.{layer}.{short}"


def layer_of(name: str) -> int | None:
    """The number of the layer that a tensor is of; None for those outside the layers."""
    return int(name.split(".", 2)[1]) if name.startswith("layers.") else None


def short_name(name: str) -> str:
    """The name within its shard: ``layers.7.ffn_norm.weight`` -> ``ffn_norm.weight``."""
    return name.split(".", 2)[2] if name.startswith("layers.") else name

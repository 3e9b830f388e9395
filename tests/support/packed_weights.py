"""Random weights as a store has them, and what a stage takes of them."""

import numpy as np

from pi_cluster.kernels import unpack
from pi_cluster.transformer.formats import WeightFormats, tensor_format
from tests.support.checkpoints import random_weights
from tests.support.kernel_engines import EVERY_VARIANT, engine
from tests.support.stages import tensors_of_layer


def packed_weights(config, weights, seed=31):
    """Random weights in the formats of a store; ``weights`` is one name, or layers and outer."""
    formats = (
        WeightFormats(*weights) if isinstance(weights, tuple) else WeightFormats.choose(weights)
    )
    packed = {}
    for name, tensor in random_weights(config, seed).items():
        form = formats.layers if name.startswith("layers.") else formats.outer
        if tensor.ndim == 2:
            tensor = engine(EVERY_VARIANT[0]).pack(tensor, tensor_format(tensor.shape, form))
        packed[name] = tensor
    return packed


def unpacked(packed):
    return {n: w if isinstance(w, np.ndarray) else unpack(w) for n, w in packed.items()}


def parts_of(config, tensors, start, stop):
    return {
        "layers": [tensors_of_layer(tensors, layer) for layer in range(start, stop)],
        "embedding": tensors if start == 0 else None,
        "head": tensors if stop == config.n_layers else None,
    }

"""What a store asks of the nodes that will hold it, before anything is loaded."""

import math

from pi_cluster.cluster import settings
from pi_cluster.cluster.store.manifest import Manifest
from pi_cluster.coordinator.planning.plan import ModelFootprint
from pi_cluster.transformer.cache import cache_capacity
from pi_cluster.transformer.config import ModelConfig
from pi_cluster.transformer.kernel_arithmetic import layer_shape
from pi_cluster.transformer.limits import Limits
from pi_cluster.transformer.shapes import Shapes, head_shapes, layer_shapes

_FLOAT_BYTES = 4


def choose_limits(
    config: ModelConfig, context: int | None, texts: int = settings.DEFAULT_TEXTS
) -> Limits:
    """The limits of a pipeline for this model, its caches with room for ``texts`` at full length.

    ``context`` matters only without a window: the cache then is all of it, so it is the smaller
    of what the model was made for and ``DEFAULT_CONTEXT`` unless asked for.
    """
    wanted = context or min(config.max_positions, settings.DEFAULT_CONTEXT)
    longest = min(wanted, config.max_positions)
    rows = settings.MAX_STEP_ROWS
    return Limits(
        max_step_rows=rows,
        max_sequences=settings.MAX_SEQUENCES,
        context=longest,
        cache_positions=texts * cache_capacity(config.widest_window, longest, rows),
    )


def model_footprint(manifest: Manifest, config: ModelConfig, limits: Limits) -> ModelFootprint:
    """Bytes of weights, caches and activations, as the planner counts them."""
    shape = layer_shape(config, limits)
    cache = shape.cache_bytes_per_layer // shape.capacity * limits.cache_positions
    layer = config.layers[0]
    # The widest moment of a layer: its input and norm, queries, keys and values, or the three
    # arrays of SwiGLU; on the last stage the logits that are asked for come on top.
    row = 4 * config.dim + 3 * max(layer.hidden_dim, layer.query_dim)
    return ModelFootprint(
        n_layers=config.n_layers,
        layer_bytes=max(manifest.layer_file(i).size_bytes for i in range(config.n_layers)),
        embedding_bytes=manifest.embedding_file.size_bytes,
        head_bytes=manifest.head_file.size_bytes,
        cache_bytes_per_layer=cache,
        step_bytes=_FLOAT_BYTES * (limits.max_step_rows * row + config.vocab_size),
        layer_macs=_macs(layer_shapes(layer, config.dim)),
        head_macs=_macs(head_shapes(config)),
        row_bytes=_FLOAT_BYTES * config.dim,
    )


def _macs(shapes: Shapes) -> int:
    """Multiply-adds of one row with all matrices."""
    return sum(math.prod(shape) for shape in shapes.values() if len(shape) > 1)

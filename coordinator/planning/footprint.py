"""What a store asks of the nodes that will hold it, before anything is loaded."""

import math
from dataclasses import replace

from pi_cluster.cluster import settings
from pi_cluster.cluster.store.manifest import Manifest
from pi_cluster.coordinator.planning.costs import LayerCost, ModelFootprint
from pi_cluster.transformer.cache import cache_capacity
from pi_cluster.transformer.config import ModelConfig
from pi_cluster.transformer.kernel_arithmetic import most_cache_bytes
from pi_cluster.transformer.limits import Limits
from pi_cluster.transformer.shapes import Shapes, head_shapes, layer_shapes
from pi_cluster.transformer.weight_bytes import WeightBytes

_FLOAT_BYTES = 4
_DRAFT_STEP_ROWS = 128  # a text is caught up with in few of them; and as far guesses are taken back


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


def draft_limits(config: ModelConfig, context: int) -> Limits:
    """The limits of a draft model on one machine, for texts of up to ``context`` positions.

    A few texts, as those of a pipeline with more leave it nothing idle.
    """
    texts = settings.DEFAULT_TEXTS
    chosen = choose_limits(config, context, texts)
    rows = min(_DRAFT_STEP_ROWS, chosen.max_step_rows)
    capacity = cache_capacity(config.widest_window, chosen.context, rows)
    return replace(
        chosen, max_step_rows=rows, max_sequences=texts, cache_positions=texts * capacity
    )


def model_footprint(manifest: Manifest, config: ModelConfig, limits: Limits) -> ModelFootprint:
    """Bytes of a store's weights, of caches and of activations, as the planner counts them."""
    files = WeightBytes(
        manifest.embedding_file.size_bytes,
        tuple(manifest.layer_file(i).size_bytes for i in range(config.n_layers)),
        manifest.head_file.size_bytes,
    )
    return footprint_with(files, config, limits)


def footprint_with(weights: WeightBytes, config: ModelConfig, limits: Limits) -> ModelFootprint:
    """The same with weights of so many bytes."""
    caches = most_cache_bytes(config, limits)
    layers = tuple(
        LayerCost(
            weight_bytes=weights.layers[i],
            cache_bytes=caches[i],
            macs=_macs(layer_shapes(layer, config.dim)),
        )
        for i, layer in enumerate(config.layers)
    )
    return ModelFootprint(
        layers=layers,
        embedding_bytes=weights.embedding,
        head_bytes=weights.head,
        step_bytes=_step_bytes(config, limits),
        head_macs=_macs(head_shapes(config)),
        row_bytes=_FLOAT_BYTES * config.dim,
    )


def _step_bytes(config: ModelConfig, limits: Limits) -> int:
    """The widest moment of the widest layer: its input and norm, queries, keys and values, or the
    three arrays of SwiGLU; on the last stage the logits that are asked for come on top.
    """
    widest = max(max(layer.hidden_dim, layer.query_dim) for layer in config.layers)
    row = 4 * config.dim + 3 * widest
    return _FLOAT_BYTES * (limits.max_step_rows * row + config.vocab_size)


def _macs(shapes: Shapes) -> int:
    """Multiply-adds of one row with all matrices."""
    return sum(math.prod(shape) for shape in shapes.values() if len(shape) > 1)

"""Mistral 7B in 4 bits as a manifest alone: every size is right, and no file exists."""

import hashlib
import math

from benchmarks.kernels import layer_files as files
from pi_cluster.cluster.store.manifest import (
    EMBEDDING_NAME,
    HEAD_NAME,
    Manifest,
    ShardFile,
    layer_file_name,
)
from pi_cluster.kernels import packed_bytes
from pi_cluster.transformer.config import ModelConfig
from pi_cluster.transformer.config_form import plain_config
from pi_cluster.transformer.formats import WeightFormats, tensor_format
from pi_cluster.transformer.shapes import Shapes, embedding_shapes, head_shapes, layer_shapes

BOS_ID, EOS_ID = 1, 2

CONFIG = ModelConfig.uniform(
    dim=files.DIM,
    n_layers=32,
    n_heads=files.N_HEADS,
    n_kv_heads=files.N_KV_HEADS,
    head_dim=files.HEAD_DIM,
    hidden_dim=files.HIDDEN_DIM,
    vocab_size=32_000,
    norm_eps=files.NORM_EPS,
    rope_theta=files.ROPE_THETA,
    window=None,
    max_positions=32_768,
)
"""Mistral 7B Instruct v0.2."""


def manifest_of(config: ModelConfig) -> Manifest:
    """The manifest of a q4 store that nobody has to write."""
    formats = WeightFormats.choose("q4")
    listed = [
        _file(EMBEDDING_NAME, embedding_shapes(config), formats.outer),
        _file(HEAD_NAME, head_shapes(config), formats.outer),
        *(
            _file(layer_file_name(index), layer_shapes(layer, config.dim), formats.layers)
            for index, layer in enumerate(config.layers)
        ),
    ]
    return Manifest(
        weights=formats.layers,
        outer_weights=formats.outer,
        config=plain_config(config),
        bos_id=BOS_ID,
        eos_ids=(EOS_ID,),
        files=tuple(listed),
    )


def _file(name: str, shapes: Shapes, weights: str) -> ShardFile:
    size = sum(_tensor_bytes(shape, weights) for shape in shapes.values())
    return ShardFile(name, size, hashlib.sha256(name.encode()).hexdigest())


def _tensor_bytes(shape: tuple[int, ...], weights: str) -> int:
    form = tensor_format(shape, weights)
    value_bytes = {"f32": 4, "f16": 2}
    if form in value_bytes:
        return value_bytes[form] * math.prod(shape)
    return packed_bytes(form, *shape)

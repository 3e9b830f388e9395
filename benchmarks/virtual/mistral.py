"""Mistral 7B in 4 bits as a manifest alone: every size is right, and no file exists."""

import hashlib

from benchmarks.kernels import layer_files as files
from pi_cluster.cluster.store.manifest import (
    EMBEDDING_NAME,
    HEAD_NAME,
    Manifest,
    ShardFile,
    layer_file_name,
)
from pi_cluster.transformer.config import ModelConfig
from pi_cluster.transformer.config_form import plain_config
from pi_cluster.transformer.formats import WeightFormats
from pi_cluster.transformer.weight_bytes import weight_bytes

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
    sizes = weight_bytes(config, formats)
    listed = {EMBEDDING_NAME: sizes.embedding, HEAD_NAME: sizes.head}
    listed |= {layer_file_name(index): size for index, size in enumerate(sizes.layers)}
    return Manifest(
        weights=formats.layers,
        outer_weights=formats.outer,
        config=plain_config(config),
        bos_id=BOS_ID,
        eos_ids=(EOS_ID,),
        files=tuple(_file(name, size) for name, size in listed.items()),
    )


def _file(name: str, size_bytes: int) -> ShardFile:
    return ShardFile(name, size_bytes, hashlib.sha256(name.encode()).hexdigest())

"""A model's weights in float32, from whatever file it comes in."""

from pathlib import Path

import numpy as np

from benchmarks.quality.float_model import ATTENTION_POST_NORM, FFN_POST_NORM, FloatWeights
from pi_cluster.kernels import packed_from_ggml, unpack
from pi_cluster.shard_tool.gguf.header import TensorPlace
from pi_cluster.shard_tool.gguf.model_files import ModelFiles, open_model
from pi_cluster.shard_tool.gguf.weight_file import GgufFile
from pi_cluster.shard_tool.sources.block_tensor import BlockTensor
from pi_cluster.shard_tool.sources.checkpoint import open_checkpoint
from pi_cluster.shard_tool.sources.names import layer_tensor
from pi_cluster.shard_tool.sources.source_tensor import HalfSplit, interleave_rotary_rows
from pi_cluster.transformer.arithmetic import Array
from pi_cluster.transformer.config import LayerConfig, ModelConfig, RopeTable

_FULL_EVERY = 6  # of Gemma 3's layers: the others see a window, and turn by another table
_LOCAL_THETA = 10_000.0
_GEMMA_LAYER = {
    "attn_norm": "attention_norm",
    "attn_q": "attention.wq",
    "attn_k": "attention.wk",
    "attn_v": "attention.wv",
    "attn_q_norm": "attention.q_norm",
    "attn_k_norm": "attention.k_norm",
    "attn_output": "attention.wo",
    "post_attention_norm": ATTENTION_POST_NORM.removesuffix(".weight"),
    "ffn_norm": "ffn_norm",
    "ffn_gate": "feed_forward.w1",
    "ffn_down": "feed_forward.w2",
    "ffn_up": "feed_forward.w3",
    "post_ffw_norm": FFN_POST_NORM.removesuffix(".weight"),
}
_ROTARY = ("attn_q", "attn_k", "attn_q_norm", "attn_k_norm")


def read_supported(path: Path) -> FloatWeights:
    """The weights of any checkpoint that the product reads, quantised ones with their values."""
    with open_checkpoint(path) as checkpoint:
        tensors: dict[str, Array] = {}
        for name, tensor in checkpoint.tensors.items():
            if isinstance(tensor, BlockTensor):
                blocks = [unpack(matrix) for matrix in tensor.matrices()]
            else:
                blocks = list(tensor.row_blocks())
            tensors[name] = np.concatenate(blocks)
        return FloatWeights(checkpoint.config, tensors)


def read_gemma3(path: Path) -> FloatWeights:
    """Gemma 3 from a GGUF, where gains have their 1 added already and the head is the embedding.

    Source: llama.cpp, src/models/gemma3.cpp, and ``models/gemma3`` of transformers.
    """
    model = open_model(path)
    config = _gemma3_config(model)
    places = {name: place for name, (_, place) in model.tensors.items()}
    tensors: dict[str, Array] = {}
    with GgufFile(model.path, places) as file:
        embedding = _dequantised(file, "token_embd.weight", places["token_embd.weight"])
        tensors["tok_embeddings.weight"] = tensors["output.weight"] = embedding
        tensors["norm.weight"] = file.read_rows("output_norm.weight", 0, config.dim)
        for layer, of_layer in enumerate(config.layers):
            order = HalfSplit(of_layer.head_dim, of_layer.head_dim)
            for theirs, ours in _GEMMA_LAYER.items():
                name = f"blk.{layer}.{theirs}.weight"
                values = _dequantised(file, name, places[name])
                if theirs in _ROTARY:
                    values = interleave_rotary_rows(values, order)
                tensors[layer_tensor(layer, f"{ours}.weight")] = values
    return FloatWeights(config, tensors, embedding_scale=config.dim**0.5, has_gelu=True)


def _gemma3_config(model: ModelFiles) -> ModelConfig:
    def value(name: str) -> int:
        return int(model.values[f"gemma3.{name}"])

    full = LayerConfig(
        n_heads=value("attention.head_count"),
        n_kv_heads=value("attention.head_count_kv"),
        head_dim=value("attention.key_length"),
        hidden_dim=value("feed_forward_length"),
        qk_norm=True,
    )
    window = LayerConfig(
        *(full.n_heads, full.n_kv_heads, full.head_dim, full.hidden_dim),
        window=value("attention.sliding_window"),
        rope_table=1,
        qk_norm=True,
    )
    layers = range(1, value("block_count") + 1)
    return ModelConfig(
        dim=value("embedding_length"),
        vocab_size=model.tensors["token_embd.weight"][1].shape[0],
        norm_eps=float(model.values["gemma3.attention.layer_norm_rms_epsilon"]),
        max_positions=value("context_length"),
        rope_tables=(
            RopeTable(float(model.values["gemma3.rope.freq_base"]), full.head_dim),
            RopeTable(_LOCAL_THETA, full.head_dim),
        ),
        layers=tuple(window if layer % _FULL_EVERY else full for layer in layers),
    )


def _dequantised(file: GgufFile, name: str, place: TensorPlace) -> Array:
    rows = place.shape[0]
    if not place.type.kept_as:
        return file.read_rows(name, 0, rows)
    return unpack(packed_from_ggml(place.dtype, file.read_blocks(name, 0, rows), place.shape[1]))

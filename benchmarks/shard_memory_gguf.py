"""A GGUF of Mistral 7B's shape in the mixture of Q4_K_M, for ``benchmarks.shard_memory --gguf``."""

import math
from pathlib import Path

import gguf
import numpy as np

from pi_cluster.shard_tool.sources.names import layer_of, short_name, tensor_shapes
from pi_cluster.transformer.config import ModelConfig
from pi_cluster.transformer.families.tensor_forms import GGUF_NORM

_BLOCK_BYTES = 1 << 24
_FINITE = np.uint16(0xBFFF)  # one bit of the exponent is never set: no half is infinite

Type = gguf.GGMLQuantizationType


def write_gguf(path: Path, config: ModelConfig, is_random: bool) -> int:
    """Write the file and return the bytes of its tensors.

    They are random, or else zeros that take no room on disk.
    """
    writer = gguf.GGUFWriter(path, "llama")
    layer = config.layers[0]
    writer.add_block_count(config.n_layers)
    writer.add_context_length(config.max_positions)
    writer.add_embedding_length(config.dim)
    writer.add_feed_forward_length(layer.hidden_dim)
    writer.add_head_count(layer.n_heads)
    writer.add_head_count_kv(layer.n_kv_heads)
    writer.add_layer_norm_rms_eps(config.norm_eps)
    writer.add_rope_freq_base(config.rope_tables[0].theta)
    total = 0
    for name, shape in tensor_shapes(config).items():
        type_ = _type(name, shape, config.n_layers)
        columns, block_bytes = gguf.constants.GGML_QUANT_SIZES[type_]
        size_bytes = math.prod(shape) // columns * block_bytes
        dtype = np.dtype(np.float32)  # unless it says uint8, the shape is one of weights
        writer.add_tensor_info(GGUF_NORM.name_of(name), shape, dtype, size_bytes, type_)
        total += -(-size_bytes // writer.data_alignment) * writer.data_alignment
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    start = -(-path.stat().st_size // writer.data_alignment) * writer.data_alignment
    with path.open("r+b") as file:
        if is_random:
            file.seek(start)
            numbers = np.random.default_rng(0)
            for at in range(0, total, _BLOCK_BYTES):
                halves = numbers.integers(0, 1 << 16, min(_BLOCK_BYTES, total - at) // 2, np.uint16)
                file.write((halves & _FINITE).tobytes())
        file.truncate(start + total)
    return total


def _type(name: str, shape: tuple[int, ...], n_layers: int) -> Type:
    """As llama.cpp's quantiser chooses for Q4_K_M: more bits for half of the values and of w2."""
    if len(shape) == 1:
        return Type.F32
    layer = layer_of(name)
    if layer is None:
        return Type.Q6_K if name == "output.weight" else Type.Q4_K
    is_favoured = layer < n_layers // 8 or layer >= 7 * n_layers // 8 or layer % 3 == 2
    is_delicate = short_name(name) in ("attention.wv.weight", "feed_forward.w2.weight")
    return Type.Q6_K if is_favoured and is_delicate else Type.Q4_K

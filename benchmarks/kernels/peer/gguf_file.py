"""The layers as a GGUF of architecture llama: the same values, as Q4_0 blocks.

Its vocabulary has 32 tokens, so that embedding and head cost next to nothing: what is timed is a
stage. Inputs are hidden states, not tokens.
"""

from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter

from benchmarks.kernels import layer_files as files

VOCABULARY = 32
_NAMES = {
    "wq": "attn_q",
    "wk": "attn_k",
    "wv": "attn_v",
    "wo": "attn_output",
    "w1": "ffn_gate",
    "w2": "ffn_down",
    "w3": "ffn_up",
}


def write_gguf(folder: Path) -> Path:
    """Write ``stage.gguf`` beside the files of the layers and return its path."""
    path = folder / "stage.gguf"
    writer = GGUFWriter(path, "llama")
    _describe(writer)
    outer = np.random.default_rng(0).standard_normal((VOCABULARY, files.DIM)).astype(np.float32)
    ones = np.ones(files.DIM, np.float32)
    plain = {"token_embd": outer, "output": outer, "output_norm": ones}
    for layer in range(files.N_LAYERS):
        plain |= {f"blk.{layer}.attn_norm": ones, f"blk.{layer}.ffn_norm": ones}
    for name, tensor in plain.items():
        shape, kind = tensor.shape, tensor.dtype
        writer.add_tensor_info(f"{name}.weight", shape, kind, tensor.nbytes)
    for layer in range(files.N_LAYERS):
        for matrix, (rows, columns) in files.MATRICES.items():
            writer.add_tensor_info(
                f"blk.{layer}.{_NAMES[matrix]}.weight",
                *((rows, columns // 32 * 18), np.dtype(np.uint8), rows * columns // 32 * 18),
                GGMLQuantizationType.Q4_0,
            )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for tensor in plain.values():
        writer.write_tensor_data(tensor)
    for layer in range(files.N_LAYERS):
        for matrix, packed in files.map_layer(folder, layer).items():
            writer.write_tensor_data(files.as_q4_0(packed, *files.MATRICES[matrix]))
    writer.close()
    return path


def _describe(writer: GGUFWriter) -> None:
    writer.add_block_count(files.N_LAYERS)
    writer.add_context_length(32768)
    writer.add_embedding_length(files.DIM)
    writer.add_feed_forward_length(files.HIDDEN_DIM)
    writer.add_head_count(files.N_HEADS)
    writer.add_head_count_kv(files.N_KV_HEADS)
    writer.add_layer_norm_rms_eps(files.NORM_EPS)
    writer.add_rope_dimension_count(files.HEAD_DIM)
    writer.add_rope_freq_base(files.ROPE_THETA)
    writer.add_vocab_size(VOCABULARY)
    writer.add_tokenizer_model("none")

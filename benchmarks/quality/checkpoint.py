"""A model in float32 as a checkpoint in Mistral's own form, and its statistics as llama.cpp's."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np

from benchmarks.quality.float_model import FloatWeights
from pi_cluster.cluster.store.tensor_writing import TensorSource, write_tensor_file
from pi_cluster.shard_tool.sources.names import layer_of, short_name, tensor_shapes
from pi_cluster.transformer.arithmetic import Array

_FEW_ROWS = 32
_GGUF_NAMES = {
    "attention.wq.weight": "attn_q",
    "attention.wk.weight": "attn_k",
    "attention.wv.weight": "attn_v",
    "attention.wo.weight": "attn_output",
    "feed_forward.w1.weight": "ffn_gate",
    "feed_forward.w2.weight": "ffn_down",
    "feed_forward.w3.weight": "ffn_up",
}


def write_checkpoint(weights: FloatWeights, folder: Path) -> None:
    """Write what ``pi-cluster shard`` reads, of a model of equal layers."""
    config, layer = weights.config, weights.config.layers[0]
    assert set(config.layers) == {layer}, "the form knows one kind of layer"
    params = {
        "dim": config.dim,
        "n_layers": config.n_layers,
        "n_heads": layer.n_heads,
        "n_kv_heads": layer.n_kv_heads,
        "head_dim": layer.head_dim,
        "hidden_dim": layer.hidden_dim,
        "vocab_size": config.vocab_size,
        "norm_eps": config.norm_eps,
        "rope_theta": config.rope_tables[0].theta,
        "max_position_embeddings": config.max_positions,
    }
    if layer.window is not None:
        params["sliding_window"] = layer.window
    (folder / "params.json").write_text(json.dumps(params))
    sources = [
        TensorSource(name, "F32", shape, [np.ascontiguousarray(weights.tensors[name])])
        for name, shape in tensor_shapes(config).items()
    ]
    write_tensor_file(folder / "consolidated.safetensors", sources)


def layers_alone(weights: FloatWeights) -> FloatWeights:
    """The layers' matrices in a model of a plain kind, with a few tokens.

    So a model that the product does not compute can be quantised by it all the same.
    """
    config = weights.config
    plain = replace(config.layers[0], qk_norm=False, window=None, rope_table=0)
    few = replace(
        config,
        vocab_size=_FEW_ROWS,
        layers=(plain,) * config.n_layers,
        rope_tables=config.rope_tables[:1],
    )
    outer = ("tok_embeddings.weight", "output.weight")
    cut = {name: weights.tensors[name][:_FEW_ROWS] for name in outer}
    return replace(weights.with_tensors(cut), config=few)


def write_imatrix(importance: Mapping[str, Array], rows: int, path: Path) -> None:
    """Mean squares of each matrix's inputs over ``rows`` positions, as ``llama-imatrix`` does.

    Source: llama.cpp, tools/imatrix/imatrix.cpp.
    """
    writer = gguf.GGUFWriter(path, arch="")
    writer.add_type("imatrix")
    writer.add_array("imatrix.datasets", ["calibration"])
    writer.add_uint32("imatrix.chunk_count", 1)
    writer.add_uint32("imatrix.chunk_size", rows)
    for name, squares in importance.items():
        stem = f"blk.{layer_of(name)}.{_GGUF_NAMES[short_name(name)]}.weight"
        writer.add_tensor(f"{stem}.in_sum2", (squares * np.float32(rows))[None])
        writer.add_tensor(f"{stem}.counts", np.full((1, 1), rows, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

"""Random checkpoints in both families' forms, written with numpy and json alone.

Every weight is a small whole number over 1024, which bfloat16, float16 and float32 all hold
exactly: the same seed gives the same weights in every form and dtype.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pi_cluster.transformer.config import LayerConfig, ModelConfig

Weights = dict[str, NDArray[np.float32]]

_SMALL: dict[str, Any] = {
    "dim": 64,
    "n_layers": 3,
    "n_heads": 4,
    "n_kv_heads": 2,
    "head_dim": 16,
    "hidden_dim": 96,
    "vocab_size": 130,
    "norm_eps": 1e-5,
    "rope_theta": 10_000.0,
    "window": 32,
    "max_positions": 1_024,
}
_CODES = {"bfloat16": "BF16", "float16": "F16", "float32": "F32"}
_HUGGING_FACE_NAMES = {
    "tok_embeddings": "model.embed_tokens",
    "norm": "model.norm",
    "output": "lm_head",
    "attention_norm": "input_layernorm",
    "attention.wq": "self_attn.q_proj",
    "attention.wk": "self_attn.k_proj",
    "attention.wv": "self_attn.v_proj",
    "attention.wo": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "feed_forward.w1": "mlp.gate_proj",
    "feed_forward.w2": "mlp.down_proj",
    "feed_forward.w3": "mlp.up_proj",
}


def only_layer(config: ModelConfig) -> LayerConfig:
    """What all layers of a model are, which must be alike."""
    (layer,) = set(config.layers)
    return layer


def small_config(**changes: Any) -> ModelConfig:
    """A model of three layers and some 100 000 weights."""
    return ModelConfig.uniform(**(_SMALL | changes))


SMALL = small_config()


def random_weights(config: ModelConfig, seed: int = 0, tied: bool = False) -> Weights:
    """Weights by Mistral's names, rotary rows interleaved; with ``tied``, no matrix of the head."""
    numbers = np.random.default_rng(seed)

    def matrix(rows: int, columns: int) -> NDArray[np.float32]:
        return (numbers.integers(-127, 128, (rows, columns)) / 1024).astype(np.float32)

    def gain() -> NDArray[np.float32]:
        return (numbers.integers(896, 1152, config.dim) // 8 / 128).astype(np.float32)

    shape = only_layer(config)
    queries, keys = shape.query_dim, shape.key_dim
    weights = {"tok_embeddings.weight": matrix(config.vocab_size, config.dim)}
    for layer in range(config.n_layers):
        of_layer = {
            "attention_norm": gain(),
            "attention.wq": matrix(queries, config.dim),
            "attention.wk": matrix(keys, config.dim),
            "attention.wv": matrix(keys, config.dim),
            "attention.wo": matrix(config.dim, queries),
            "ffn_norm": gain(),
            "feed_forward.w1": matrix(shape.hidden_dim, config.dim),
            "feed_forward.w2": matrix(config.dim, shape.hidden_dim),
            "feed_forward.w3": matrix(shape.hidden_dim, config.dim),
        }
        weights |= {f"layers.{layer}.{name}.weight": w for name, w in of_layer.items()}
    weights["norm.weight"] = gain()
    if not tied:
        weights["output.weight"] = matrix(config.vocab_size, config.dim)
    return weights


def write_hugging_face_checkpoint(
    folder: Path,
    config: ModelConfig = SMALL,
    *,
    seed: int = 0,
    dtype: str = "bfloat16",
    shards: int = 1,
    tied: bool = False,
    with_head_dim: bool = True,
    config_overrides: Mapping[str, Any] | None = None,
    weights: Weights | None = None,
) -> Weights:
    """Write config.json and model*.safetensors; return the weights by Mistral's names.

    ``shards`` above 1 makes an index and cuts by the number of tensors, so that layers straddle
    files. An override of ``...`` removes the key from config.json.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = random_weights(config, seed, tied) if weights is None else weights
    values = _hugging_face_values(config, dtype, tied, with_head_dim) | dict(config_overrides or {})
    values = {name: value for name, value in values.items() if value is not ...}
    (folder / "config.json").write_text(json.dumps(values))
    theirs = {
        hugging_face_name(name): _half_split(w, only_layer(config).head_dim)
        if _is_rotated(name)
        else w
        for name, w in weights.items()
    }
    if shards == 1:
        write_safetensors(folder / "model.safetensors", theirs, dtype)
        return weights
    names = list(theirs)
    weight_map: dict[str, str] = {}
    for number in range(shards):
        part = names[len(names) * number // shards : len(names) * (number + 1) // shards]
        file_name = f"model-{number + 1:05d}-of-{shards:05d}.safetensors"
        write_safetensors(folder / file_name, {name: theirs[name] for name in part}, dtype)
        weight_map |= dict.fromkeys(part, file_name)
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return weights


def write_consolidated_checkpoint(
    folder: Path,
    config: ModelConfig = SMALL,
    *,
    seed: int = 0,
    dtype: str = "bfloat16",
    params_overrides: Mapping[str, Any] | None = None,
    weights: Weights | None = None,
) -> Weights:
    """Write params.json and consolidated.safetensors; return the weights by Mistral's names."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = random_weights(config, seed) if weights is None else weights
    layer, (table,) = only_layer(config), config.rope_tables
    same = ("dim", "n_layers", "vocab_size", "norm_eps")
    values: dict[str, Any] = {name: getattr(config, name) for name in same}
    of_layer = ("n_heads", "n_kv_heads", "head_dim", "hidden_dim")
    values |= {name: getattr(layer, name) for name in of_layer} | {"rope_theta": table.theta}
    values |= {"sliding_window": layer.window, "max_seq_len": config.max_positions}
    values |= dict(params_overrides or {})
    values = {name: value for name, value in values.items() if value is not ...}
    (folder / "params.json").write_text(json.dumps(values))
    write_safetensors(folder / "consolidated.safetensors", weights, dtype)
    return weights


def write_safetensors(path: Path, tensors: Weights, dtype: str = "float32") -> None:
    """Write float32 arrays as a safetensors file of ``bfloat16``, ``float16`` or ``float32``."""
    header, end, blobs = {}, 0, []
    for name, tensor in tensors.items():
        blobs.append(_encode(tensor, dtype))
        offsets = [end, end + len(blobs[-1])]
        header[name] = {"dtype": _CODES[dtype], "shape": tensor.shape, "data_offsets": offsets}
        end = offsets[1]
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(blobs))


def hugging_face_name(name: str) -> str:
    """Hugging Face's name for one of Mistral's."""
    name = name.removesuffix(".weight")
    if not name.startswith("layers."):
        return _HUGGING_FACE_NAMES[name] + ".weight"
    _, layer, short = name.split(".", 2)
    return f"model.layers.{layer}.{_HUGGING_FACE_NAMES[short]}.weight"


def _hugging_face_values(
    config: ModelConfig, dtype: str, tied: bool, with_head_dim: bool
) -> dict[str, Any]:
    layer, (table,) = only_layer(config), config.rope_tables
    return {
        "architectures": ["MistralForCausalLM"],
        "model_type": "mistral",
        "bos_token_id": 1,
        "eos_token_id": 2,
        "head_dim": layer.head_dim if with_head_dim else ...,
        "hidden_act": "silu",
        "hidden_size": config.dim,
        "intermediate_size": layer.hidden_dim,
        "max_position_embeddings": config.max_positions,
        "num_attention_heads": layer.n_heads,
        "num_hidden_layers": config.n_layers,
        "num_key_value_heads": layer.n_kv_heads,
        "rms_norm_eps": config.norm_eps,
        "rope_theta": table.theta,
        "sliding_window": layer.window,
        "tie_word_embeddings": tied,
        "torch_dtype": dtype,
        "vocab_size": config.vocab_size,
    }


def _is_rotated(name: str) -> bool:
    return name.endswith(("attention.wq.weight", "attention.wk.weight"))


def _half_split(rows: NDArray[np.float32], head_dim: int) -> NDArray[np.float32]:
    heads = [rows[start : start + head_dim] for start in range(0, len(rows), head_dim)]
    return np.concatenate([part for head in heads for part in (head[0::2], head[1::2])])


def _encode(tensor: NDArray[np.float32], dtype: str) -> bytes:
    if dtype == "bfloat16":
        return (np.ascontiguousarray(tensor).view(np.uint32) >> 16).astype("<u2").tobytes()
    return tensor.astype("<f2" if dtype == "float16" else "<f4").tobytes()

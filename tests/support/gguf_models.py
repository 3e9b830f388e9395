"""Small models as GGUF files, written by the gguf package as llama.cpp's converter does."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from pi_cluster.shard_tool.sources.names import tensor_shapes
from pi_cluster.transformer.config import LayerConfig, ModelConfig, RopeTable

Type = gguf.GGMLQuantizationType
TypeOf = Callable[[str, tuple[int, ...]], Type]
"""The format of a matrix, by Mistral's name and its shape."""

Weights = dict[str, NDArray[np.float32]]

_NAMES = {
    "tok_embeddings": "token_embd",
    "norm": "output_norm",
    "output": "output",
    "attention_norm": "attn_norm",
    "attention.wq": "attn_q",
    "attention.wk": "attn_k",
    "attention.wv": "attn_v",
    "attention.q_norm": "attn_q_norm",
    "attention.k_norm": "attn_k_norm",
    "attention.wo": "attn_output",
    "ffn_norm": "ffn_norm",
    "feed_forward.w1": "ffn_gate",
    "feed_forward.w2": "ffn_down",
    "feed_forward.w3": "ffn_up",
}
_ROTATED = ("attention.wq", "attention.wk", "attention.q_norm", "attention.k_norm")
_NEOX = ("qwen2", "qwen3")
_SCALES = {"Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,), "IQ4_NL": (0,)}
"""Where the halves of a block are, in formats that the package does not quantise to."""


def gguf_config(architecture: str = "llama", **of_layer: Any) -> ModelConfig:
    """Two layers whose rows are whole blocks of every format, with a vocabulary of 300."""
    own = {"qwen2": {"qkv_bias": True}, "qwen3": {"qk_norm": True}}.get(architecture, {})
    sizes = {"n_heads": 4, "n_kv_heads": 2, "head_dim": 64, "hidden_dim": 512}
    layer = LayerConfig(**(sizes | own | of_layer))
    return ModelConfig(
        dim=256,
        vocab_size=300,
        norm_eps=1e-5,
        max_positions=1_024,
        rope_tables=(RopeTable(10_000.0, layer.head_dim),),
        layers=(layer,) * 2,
    )


def all_in(name: str) -> TypeOf:
    """Every matrix in one format."""
    return lambda *_: Type[name]


ALL_PLAIN = all_in("F32")


def gguf_name(name: str) -> str:
    """llama.cpp's name for one of Mistral's."""
    stem, _, ending = name.rpartition(".")
    if not stem.startswith("layers."):
        return f"{_NAMES[stem]}.{ending}"
    _, layer, short = stem.split(".", 2)
    return f"blk.{layer}.{_NAMES[short]}.{ending}"


def gguf_keys(config: ModelConfig, architecture: str = "llama") -> dict[str, Any]:
    """The keys of the model itself, by their names without the architecture."""
    layer = config.layers[0]
    return {
        "vocab_size": config.vocab_size,
        "context_length": config.max_positions,
        "embedding_length": config.dim,
        "block_count": config.n_layers,
        "feed_forward_length": layer.hidden_dim,
        "rope.dimension_count": layer.head_dim,
        "rope.freq_base": config.rope_tables[0].theta,
        "attention.head_count": layer.n_heads,
        "attention.head_count_kv": layer.n_kv_heads,
        "attention.layer_norm_rms_epsilon": config.norm_eps,
    }


def write_gguf(
    path: Path,
    config: ModelConfig | None = None,
    *,
    architecture: str = "llama",
    type_of: TypeOf = ALL_PLAIN,
    tied: bool = False,
    keys: Mapping[str, Any] | None = None,
    tokenizer: Mapping[str, Any] | None = None,
    more_tensors: Mapping[str, NDArray[np.float32]] | None = None,
    weights: Weights | None = None,
    seed: int = 0,
) -> Weights:
    """Write a model; return its weights by Mistral's names, as the gguf package decodes them.

    ``keys`` are added to those of the model, or with ``...`` taken out. Without ``tokenizer``,
    which are keys of one, there is none.
    """
    config = config or gguf_config(architecture)
    writer = gguf.GGUFWriter(path, architecture)
    values = gguf_keys(config, architecture) | dict(keys or {})
    for key, value in values.items():
        if value is not ...:
            _add(writer, key if key.startswith("general.") else f"{architecture}.{key}", value)
    for key, value in (tokenizer or {}).items():
        if value is not None:
            _add(writer, key, value)
    decoded: Weights = {}
    for number, (name, shape) in enumerate(tensor_shapes(config).items()):
        if tied and name == "output.weight":
            decoded[name] = decoded["tok_embeddings.weight"]
            continue
        type_ = type_of(name, shape) if len(shape) == 2 else Type.F32
        given = weights[name] if weights else random_rows(shape, seed + number)
        rows, decoded[name] = encoded(given, type_, seed + number)
        if architecture in _NEOX and name.rpartition(".")[0].split(".", 2)[-1] in _ROTATED:
            rows = half_split(rows, config.layers[0].head_dim)
        _add_tensor(writer, gguf_name(name), rows, type_)
    for name, tensor in (more_tensors or {}).items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return decoded


def random_rows(shape: tuple[int, ...], seed: int) -> NDArray[np.float32]:
    """Gaussian weights, none of them the same in two rows."""
    numbers = np.random.default_rng(seed)
    return numbers.standard_normal(shape, np.float32) * np.float32(0.05)


def encoded(
    weights: NDArray[np.float32], type_: Type, seed: int
) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Rows in a format, and what they stand for: random where the package does not quantise."""
    if type_.name not in _SCALES:
        rows = gguf.quantize(weights, type_)
        return rows, gguf.dequantize(rows, type_)
    block_columns, block_bytes = gguf.constants.GGML_QUANT_SIZES[type_]
    numbers = np.random.default_rng(seed)
    n_blocks = weights.size // block_columns
    blocks = numbers.integers(0, 256, (n_blocks, block_bytes), np.uint8)
    for at in _SCALES[type_.name]:
        scales = numbers.uniform(5e-5, 1e-4, (n_blocks, 1)).astype("<f2")
        blocks[:, at : at + 2] = scales.view(np.uint8)
    rows = blocks.reshape(len(weights), -1)
    return rows, gguf.dequantize(rows, type_)


def half_split(rows: NDArray[Any], head_dim: int) -> NDArray[Any]:
    """Rows in the order of Hugging Face, which some converters keep (llama.cpp's NEOX)."""
    heads = [rows[start : start + head_dim] for start in range(0, len(rows), head_dim)]
    return np.concatenate([part for head in heads for part in (head[0::2], head[1::2])])


def split_gguf(path: Path, counts: Sequence[int]) -> list[Path]:
    """Cut a file into parts with so many tensors each, as llama.cpp's own program does."""
    reader = gguf.GGUFReader(path)
    assert sum(counts) == len(reader.tensors)
    paths, start = [], 0
    for number, count in enumerate(counts):
        part = path.with_name(f"{path.stem}-{number + 1:05}-of-{len(counts):05}.gguf")
        writer = gguf.GGUFWriter(part, "unused")
        writer.kv_data[0].clear()
        if number == 0:
            for field in reader.fields.values():
                if not field.name.startswith("GGUF."):
                    kind = field.types[0]
                    sub = field.types[-1] if kind is gguf.GGUFValueType.ARRAY else None
                    writer.add_key_value(field.name, field.contents(), kind, sub)
        writer.add_uint16("split.no", number)
        writer.add_uint16("split.count", len(counts))
        writer.add_int32("split.tensors.count", sum(counts))
        for tensor in reader.tensors[start : start + count]:
            writer.add_tensor(tensor.name, np.array(tensor.data), raw_dtype=tensor.tensor_type)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        start += count
        paths.append(part)
    return paths


def _add(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    match value:
        case bool():
            writer.add_bool(key, value)
        case int():
            writer.add_uint32(key, value)
        case float():
            writer.add_float32(key, value)
        case str():
            writer.add_string(key, value)
        case np.ndarray():
            writer.add_array(key, value.tolist())
        case _:
            writer.add_array(key, value)


def _add_tensor(writer: gguf.GGUFWriter, name: str, rows: NDArray[Any], type_: Type) -> None:
    is_plain = type_ in (Type.F32, Type.F16)
    writer.add_tensor(name, np.ascontiguousarray(rows), raw_dtype=None if is_plain else type_)

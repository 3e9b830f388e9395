"""Random tiny Mistral checkpoints in the files the real ones come in, for ``make_goldens.py``."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

Weights = dict[str, torch.Tensor]

MISTRAL_NAMES = {
    "input_layernorm": "attention_norm",
    "self_attn.q_proj": "attention.wq",
    "self_attn.k_proj": "attention.wk",
    "self_attn.v_proj": "attention.wv",
    "self_attn.o_proj": "attention.wo",
    "self_attn.q_norm": "attention.q_norm",
    "self_attn.k_norm": "attention.k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "feed_forward.w1",
    "mlp.down_proj": "feed_forward.w2",
    "mlp.up_proj": "feed_forward.w3",
    "embed_tokens": "tok_embeddings",
    "norm": "norm",
    "lm_head": "output",
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """What to draw and how to write it. ``head_dim`` None: ``dim / n_heads``, absent in config."""

    seed: int
    dim: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    hidden_dim: int
    vocab_size: int
    head_dim: int | None = None
    window: int | None = None
    tied: bool = False
    dtype: str = "bfloat16"
    n_files: int = 1
    config: Mapping[str, Any] | None = None  # entries that replace the usual ones; None removes

    @property
    def width(self) -> int:
        """Rows of one head."""
        return self.head_dim or self.dim // self.n_heads


def draw_weights(recipe: Recipe) -> Weights:
    """Normal weights wide enough that attention is sharp and a wrong key shows in the logits."""
    generator = torch.Generator().manual_seed(recipe.seed)
    dtype = getattr(torch, recipe.dtype)

    def matrix(rows: int, columns: int, spread: float = 1.4) -> torch.Tensor:
        values = torch.randn(rows, columns, generator=generator) * spread / columns**0.5
        return values.to(dtype)

    def gain() -> torch.Tensor:
        return (1 + 0.1 * torch.randn(recipe.dim, generator=generator)).to(dtype)

    dim, hidden, queries = recipe.dim, recipe.hidden_dim, recipe.n_heads * recipe.width
    keys = recipe.n_kv_heads * recipe.width
    weights = {"model.embed_tokens.weight": matrix(recipe.vocab_size, dim, spread=4.0)}
    for number in range(recipe.n_layers):
        prefix = f"model.layers.{number}"
        weights[f"{prefix}.input_layernorm.weight"] = gain()
        weights[f"{prefix}.self_attn.q_proj.weight"] = matrix(queries, dim)
        weights[f"{prefix}.self_attn.k_proj.weight"] = matrix(keys, dim)
        weights[f"{prefix}.self_attn.v_proj.weight"] = matrix(keys, dim)
        weights[f"{prefix}.self_attn.o_proj.weight"] = matrix(dim, queries)
        weights[f"{prefix}.post_attention_layernorm.weight"] = gain()
        weights[f"{prefix}.mlp.gate_proj.weight"] = matrix(hidden, dim)
        weights[f"{prefix}.mlp.up_proj.weight"] = matrix(hidden, dim)
        weights[f"{prefix}.mlp.down_proj.weight"] = matrix(dim, hidden)
    weights["model.norm.weight"] = gain()
    if not recipe.tied:
        weights["lm_head.weight"] = matrix(recipe.vocab_size, dim)
    return weights


def config_of(recipe: Recipe) -> dict[str, Any]:
    """The ``config.json`` of the recipe, in the form of Mistral 7B v0.1's."""
    config: dict[str, Any] = {
        "architectures": ["MistralForCausalLM"],
        "bos_token_id": 1,
        "eos_token_id": 2,
        "head_dim": recipe.head_dim,
        "hidden_act": "silu",
        "hidden_size": recipe.dim,
        "intermediate_size": recipe.hidden_dim,
        "max_position_embeddings": 1024,
        "model_type": "mistral",
        "num_attention_heads": recipe.n_heads,
        "num_hidden_layers": recipe.n_layers,
        "num_key_value_heads": recipe.n_kv_heads,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": recipe.tied,
        "torch_dtype": recipe.dtype,
        "vocab_size": recipe.vocab_size,
    } | dict(recipe.config or {})
    return {key: value for key, value in config.items() if value is not None} | {
        "sliding_window": recipe.window
    }


def write_hugging_face(recipe: Recipe, folder: Path) -> None:
    """``config.json`` and the weights in ``n_files`` files, with an index if more than one."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = draw_weights(recipe)
    _write_json(folder / "config.json", config_of(recipe))
    if recipe.n_files == 1:
        _write_tensors(folder / "model.safetensors", weights)
        return
    names, count = list(weights), recipe.n_files
    weight_map = {}
    for number in range(count):
        # Equal numbers of tensors, so that the cuts fall inside layers, as in the real 7B.
        part = names[len(names) * number // count : len(names) * (number + 1) // count]
        file = f"model-{number + 1:05d}-of-{count:05d}.safetensors"
        _write_tensors(folder / file, {name: weights[name] for name in part})
        weight_map |= dict.fromkeys(part, file)
    total_bytes = sum(tensor.nbytes for tensor in weights.values())
    index = {"metadata": {"total_size": total_bytes}, "weight_map": weight_map}
    _write_json(folder / "model.safetensors.index.json", index)


def write_consolidated(recipe: Recipe, folder: Path) -> None:
    """The same weights in Mistral's own form: ``params.json`` and interleaved rotary rows."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {}
    for name, tensor in draw_weights(recipe).items():
        renamed = mistral_name(name)
        rotary = renamed.endswith(("wq.weight", "wk.weight"))
        weights[renamed] = interleave_rows(tensor, recipe.width) if rotary else tensor
    _write_tensors(folder / "consolidated.safetensors", weights)
    params: dict[str, Any] = {
        "dim": recipe.dim,
        "n_layers": recipe.n_layers,
        "head_dim": recipe.width,
        "hidden_dim": recipe.hidden_dim,
        "n_heads": recipe.n_heads,
        "n_kv_heads": recipe.n_kv_heads,
        "norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "vocab_size": recipe.vocab_size,
    }
    if recipe.window is not None:
        params["sliding_window"] = recipe.window
    _write_json(folder / "params.json", params)


def interleave_rows(tensor: torch.Tensor, head_dim: int) -> torch.Tensor:
    """Rows ``i`` and ``i + head_dim / 2`` of each head become rows ``2 i`` and ``2 i + 1``."""
    halves = tensor.view(-1, 2, head_dim // 2, tensor.shape[1])
    return halves.transpose(1, 2).reshape(tensor.shape).contiguous()


def mistral_name(name: str) -> str:
    """Mistral's name of a tensor that Hugging Face calls ``name``."""
    stem, _, kind = name.removeprefix("model.").rpartition(".")
    if stem.startswith("layers."):
        _, number, part = stem.split(".", 2)
        return f"layers.{number}.{MISTRAL_NAMES[part]}.{kind}"
    return f"{MISTRAL_NAMES[stem]}.{kind}"


def _write_tensors(path: Path, weights: Weights) -> None:
    save_file(weights, path, metadata={"format": "pt"})
    path.chmod(0o644)  # safetensors makes it readable by its owner alone


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")

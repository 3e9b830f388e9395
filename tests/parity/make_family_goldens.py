"""Make the goldens of families beside Mistral: small random models that transformers itself writes.

    golden-env/bin/python tests/parity/make_family_goldens.py

in the environment of ``make_goldens.py``, which says what the files hold. Here ``config.json`` and
``model.safetensors`` come from ``save_pretrained``, with every bias and every gain drawn, and the
model is read back by ``AutoModelForCausalLM``. Texts are longer than the windows, and than the
length that Llama 3's scaling starts from.
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch
from make_goldens import (
    AGREEMENT,
    GOLDENS,
    MIN_GAP,
    NEW_IDS,
    VISIBLE,
    greedy,
    read_weights,
    reference,
)
from plain_forward import Array, Shape, forward, llama3_slowdown
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    MinistralConfig,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
    SmolLM3Config,
)

SIZES: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": None,
}
LLAMA3: dict[str, Any] = {
    "rope_type": "llama3",
    "rope_theta": 10_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
PLAIN_ROPE = {"rope_type": "default", "rope_theta": 10_000.0}
FULL, SLIDING = "full_attention", "sliding_attention"

CONFIGS: dict[str, tuple[int, PreTrainedConfig]] = {  # and the seed
    "llama3-tied": (
        2010,
        LlamaConfig(**SIZES, head_dim=16, rope_parameters=LLAMA3, tie_word_embeddings=True),
    ),
    "llama-biases": (2025, LlamaConfig(**SIZES, attention_bias=True, rope_parameters=PLAIN_ROPE)),
    "qwen2": (
        2032,
        Qwen2Config(
            **SIZES,
            use_sliding_window=True,
            sliding_window=16,
            max_window_layers=1,
            rope_parameters=PLAIN_ROPE | {"rope_theta": 1_000_000.0},
        ),
    ),
    "qwen3-tied": (
        2041,
        Qwen3Config(
            **SIZES,
            head_dim=16,
            tie_word_embeddings=True,
            rope_parameters=PLAIN_ROPE | {"rope_theta": 1_000_000.0},
        ),
    ),
    "qwen3-biases": (
        2051,
        Qwen3Config(
            **SIZES,
            head_dim=24,
            attention_bias=True,
            use_sliding_window=True,
            sliding_window=20,
            layer_types=[SLIDING, FULL, SLIDING],
            rope_parameters=PLAIN_ROPE,
        ),
    ),
    "smollm3-tied": (
        2060,
        SmolLM3Config(**SIZES | {"num_hidden_layers": 4}, rope_parameters=PLAIN_ROPE),
    ),
    "smollm3-windows": (
        2071,
        SmolLM3Config(
            **SIZES | {"num_hidden_layers": 4},
            tie_word_embeddings=False,
            no_rope_layers=[1, 0, 0, 1],
            use_sliding_window=True,
            sliding_window=12,
            rope_parameters=PLAIN_ROPE,
        ),
    ),
    "ministral": (
        2083,
        MinistralConfig(
            **SIZES | {"num_hidden_layers": 4},
            head_dim=16,
            sliding_window=16,
            layer_types=[FULL, SLIDING, SLIDING, SLIDING],
            rope_parameters=PLAIN_ROPE,
        ),
    ),
}
N_IDS = 50
INTERLEAVED: frozenset[str] = frozenset()
"""Types of models whose rotary rows are so at Hugging Face, too."""


def draw_weights(model: PreTrainedModel, seed: int) -> None:
    """Fill in wide matrices, and biases and gains that each move the result."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            values = torch.randn(weight.shape, generator=generator)
            if "embed_tokens" in name:
                values *= 4 / weight.shape[1] ** 0.5
            elif weight.ndim == 2:
                values *= 1.4 / weight.shape[1] ** 0.5
            elif name.endswith(".bias"):
                values *= 0.5
            else:
                values = 1 + (0.3 if "self_attn" in name else 0.1) * values
            weight.copy_(values)


def write_checkpoint(folder: Path, config: PreTrainedConfig, seed: int) -> None:
    """What ``save_pretrained`` writes, in bfloat16."""
    model = AutoModelForCausalLM.from_config(config)
    draw_weights(model, seed)
    model.to(torch.bfloat16).save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    for path in folder.iterdir():
        path.chmod(0o644)


def shape_of(config: PreTrainedConfig) -> Shape:
    """The shape of a model by the object that transformers has made of its file."""
    rope, n_layers = config.rope_parameters, config.num_hidden_layers
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    kinds = getattr(config, "layer_types", None) or [FULL] * n_layers
    turned = getattr(config, "no_rope_layers", None) or [1] * n_layers
    is_scaled = rope["rope_type"] == "llama3"
    return Shape(
        n_layers=n_layers,
        n_heads=config.num_attention_heads,
        n_kv_heads=config.num_key_value_heads,
        head_dim=head_dim,
        norm_eps=config.rms_norm_eps,
        rope_theta=rope["rope_theta"],
        windows=tuple(config.sliding_window if kind == SLIDING else None for kind in kinds),
        unturned=frozenset(number for number in range(n_layers) if not turned[number]),
        slowdown=llama3_slowdown(rope["rope_theta"], head_dim, rope) if is_scaled else None,
    )


def without(weights: dict[str, Array], ending: str) -> dict[str, Array]:
    """The weights but those whose names end so."""
    return {name: weight for name, weight in weights.items() if not name.endswith(ending)}


def wrong_models(
    weights: dict[str, Array], shape: Shape, interleaved: bool
) -> dict[str, tuple[Any, Shape, bool]]:
    """Every way to be wrong that this model can show: its weights, shape and row order."""
    wrong: dict[str, tuple[Any, Shape, bool]] = {"rows": (weights, shape, not interleaved)}
    endings = ("wq.bias", "wk.bias", "wv.bias", "wo.bias", "q_norm.weight", "k_norm.weight")
    for ending in endings:
        if any(name.endswith(ending) for name in weights):
            wrong[ending] = (without(weights, ending), shape, interleaved)
    if shape.slowdown:
        wrong["slowdown"] = (weights, dataclasses.replace(shape, slowdown=None), interleaved)
    if shape.unturned:
        wrong["turned"] = (weights, dataclasses.replace(shape, unturned=frozenset()), interleaved)
    for change in (-1, 1) if any(shape.windows) else ():
        windows = tuple(window and window + change for window in shape.windows)
        wrong[f"window{change:+d}"] = (
            weights,
            dataclasses.replace(shape, windows=windows),
            interleaved,
        )
    return wrong


def make(name: str, config: PreTrainedConfig, seed: int) -> None:
    """Write one checkpoint and its reference, once the plain forward pass agrees."""
    folder = GOLDENS / name
    write_checkpoint(folder, config, seed)
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    draw = np.random.default_rng(seed)
    ids = [1, *draw.integers(3, config.vocab_size, N_IDS - 1).tolist()]
    golden = reference(model, ids)
    new_ids, gap = greedy(model, ids, NEW_IDS)
    if gap < MIN_GAP:
        raise SystemExit(f"{name}: a greedy choice leads by {gap} only: use another seed")
    weights, shape = read_weights(folder), shape_of(model.config)
    interleaved = config.model_type in INTERLEAVED
    hidden, logits = forward(ids, weights, shape, interleaved)
    error = max(np.abs(h - golden[f"hidden_{i}"]).max() for i, h in enumerate(hidden))
    error = max(error, np.abs(logits - golden["logits"]).max())
    moved = {
        fault: float(np.abs(forward(ids, *wrong)[1] - golden["logits"]).max())
        for fault, wrong in wrong_models(weights, shape, interleaved).items()
    }
    print(f"{name:16} {error:.1e} |", *(f"{k} {v:.2f}" for k, v in moved.items()), f"| {gap:.4f}")
    if error > AGREEMENT or min(moved.values()) < VISIBLE:
        raise SystemExit(f"{name}: not a usable golden")
    golden |= {"greedy": np.array(new_ids), "min_top2_gap": np.float32(gap)}
    np.savez_compressed(folder / "reference.npz", **golden)


if __name__ == "__main__":
    torch.set_num_threads(1)
    print("largest difference from the float64 forward | the same, with a fault | smallest gap")
    for each, (its_seed, its_config) in CONFIGS.items():
        make(each, its_config, its_seed)

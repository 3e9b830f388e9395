"""Write a training checkpoint as Hugging Face stores a model."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from pi_cluster.storyteller.training.data import BOS, END_INST, EOS, INST
from pi_cluster.storyteller.training.model import (
    DIM,
    HEAD_DIM,
    HIDDEN_DIM,
    KEY_ROWS,
    N_HEADS,
    N_KV_HEADS,
    NORM_EPS,
    QUERY_ROWS,
    ROPE_THETA,
    VOCAB_SIZE,
    WINDOW,
    untie,
)

CHAT_TEMPLATE = Path(__file__).resolve().parent / "chat-template.jinja"
SPECIAL_TOKENS = {0: "<unk>", BOS: "<s>", EOS: "</s>", INST: "[INST]", END_INST: "[/INST]"}


def export(checkpoint: Path, folder: Path) -> None:
    """Write ``folder/hf`` from ``checkpoint`` and ``folder/tokenizer.model``."""
    out = folder / "hf"
    out.mkdir(exist_ok=True)
    weights = hugging_face_weights(untie(torch.load(checkpoint, weights_only=True)["weights"]))
    n_layers = sum(name.endswith(".q_proj.weight") for name in weights)
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    (out / "model.safetensors").chmod(0o644)
    write_json(out / "config.json", model_config(n_layers))
    generation: dict[str, Any] = {"bos_token_id": BOS, "eos_token_id": EOS, "do_sample": True}
    write_json(
        out / "generation_config.json", generation | {"temperature": 0.7, "max_new_tokens": 600}
    )
    write_json(out / "tokenizer_config.json", tokenizer_config())
    (out / "tokenizer.model").write_bytes((folder / "tokenizer.model").read_bytes())


def hugging_face_weights(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Fused matrices taken apart, Hugging Face's names, bfloat16."""
    named = {"model.embed_tokens.weight": weights["embedding"]}
    n_layers = sum(name.endswith(".qkv") for name in weights)
    for number in range(n_layers):
        own, prefix = f"layers.{number}.", f"model.layers.{number}."
        q, k, v = weights[own + "qkv"].split((QUERY_ROWS, KEY_ROWS, KEY_ROWS))
        gate, up = weights[own + "gate_up"].chunk(2)
        named |= {
            prefix + "input_layernorm.weight": weights[own + "attention_norm"],
            prefix + "post_attention_layernorm.weight": weights[own + "ffn_norm"],
            prefix + "self_attn.q_proj.weight": q,
            prefix + "self_attn.k_proj.weight": k,
            prefix + "self_attn.v_proj.weight": v,
            prefix + "self_attn.o_proj.weight": weights[own + "output"],
            prefix + "mlp.gate_proj.weight": gate,
            prefix + "mlp.up_proj.weight": up,
            prefix + "mlp.down_proj.weight": weights[own + "down"],
        }
    named |= {"model.norm.weight": weights["norm"], "lm_head.weight": weights["head"]}
    return {name: tensor.bfloat16().contiguous() for name, tensor in named.items()}


def model_config(n_layers: int) -> dict[str, Any]:
    """``config.json``."""
    return {
        "architectures": ["MistralForCausalLM"],
        "attention_dropout": 0.0,
        "bos_token_id": BOS,
        "eos_token_id": EOS,
        "head_dim": HEAD_DIM,
        "hidden_act": "silu",
        "hidden_size": DIM,
        "initializer_range": 0.02,
        "intermediate_size": HIDDEN_DIM,
        "max_position_embeddings": 4096,
        "model_type": "mistral",
        "num_attention_heads": N_HEADS,
        "num_hidden_layers": n_layers,
        "num_key_value_heads": N_KV_HEADS,
        "rms_norm_eps": NORM_EPS,
        "rope_theta": ROPE_THETA,
        "sliding_window": WINDOW,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "vocab_size": VOCAB_SIZE,
    }


def tokenizer_config() -> dict[str, Any]:
    """``tokenizer_config.json``, with the chat template."""
    added = {
        str(number): {
            "content": content,
            "lstrip": False,
            "normalized": False,
            "rstrip": False,
            "single_word": False,
            "special": True,
        }
        for number, content in SPECIAL_TOKENS.items()
    }
    return {
        "add_bos_token": True,
        "add_eos_token": False,
        "add_prefix_space": True,
        "added_tokens_decoder": added,
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "pad_token": None,
        "clean_up_tokenization_spaces": False,
        "legacy": False,
        "model_max_length": 4096,
        "spaces_between_special_tokens": False,
        "tokenizer_class": "LlamaTokenizer",
        "use_default_system_prompt": False,
        "chat_template": CHAT_TEMPLATE.read_text(encoding="utf-8").rstrip("\n"),
    }


def write_json(path: Path, value: object) -> None:
    """Write ``value`` with a newline at the end."""
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")

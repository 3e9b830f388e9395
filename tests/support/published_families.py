"""What published checkpoints of the families beside Mistral say, and what model that is.

As in ``published_configurations.py``: facts, key by key, and where each was read.
"""

from dataclasses import replace
from typing import Any

from pi_cluster.transformer.config import LayerConfig, ModelConfig, RopeTable

Values = dict[str, Any]


def _model(
    layers: tuple[LayerConfig, ...],
    dim: int,
    vocab_size: int,
    max_positions: int,
    theta: float,
    norm_eps: float = 1e-6,
    factors: tuple[float, ...] | None = None,
) -> ModelConfig:
    table = RopeTable(theta, layers[0].head_dim, factors)
    return ModelConfig(dim, vocab_size, norm_eps, max_positions, (table,), layers)


def _llama3_factors(pairs: int, first: int, blended: tuple[float, ...], factor: float) -> Any:
    return (1.0,) * first + blended + (factor,) * (pairs - first - len(blended))


_LLAMA: Values = {
    "architectures": ["LlamaForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 128000,
    "eos_token_id": [128001, 128008, 128009],
    "hidden_act": "silu",
    "initializer_range": 0.02,
    "max_position_embeddings": 131072,
    "mlp_bias": False,
    "model_type": "llama",
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "pretraining_tp": 1,
    "rms_norm_eps": 1e-05,
    "rope_theta": 500000.0,
    "torch_dtype": "bfloat16",
    "use_cache": True,
    "vocab_size": 128256,
}
_LLAMA3_SCALING: Values = {
    "high_freq_factor": 4.0,
    "low_freq_factor": 1.0,
    "original_max_position_embeddings": 8192,
    "rope_type": "llama3",
}
_QWEN2: Values = {
    "architectures": ["Qwen2ForCausalLM"],
    "attention_dropout": 0.0,
    "bos_token_id": 151643,
    "eos_token_id": 151645,
    "hidden_act": "silu",
    "initializer_range": 0.02,
    "max_position_embeddings": 32768,
    "model_type": "qwen2",
    "rms_norm_eps": 1e-06,
    "rope_theta": 1000000.0,
    "torch_dtype": "bfloat16",
    "use_cache": True,
    "use_sliding_window": False,
}
_QWEN3: Values = {
    "architectures": ["Qwen3ForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 151643,
    "eos_token_id": 151645,
    "head_dim": 128,
    "hidden_act": "silu",
    "initializer_range": 0.02,
    "max_position_embeddings": 40960,
    "model_type": "qwen3",
    "rms_norm_eps": 1e-06,
    "rope_scaling": None,
    "rope_theta": 1000000,
    "sliding_window": None,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.51.0",
    "use_cache": True,
    "use_sliding_window": False,
    "vocab_size": 151936,
}
_SMOLLM3_LAYER = LayerConfig(16, 4, 128, 11008)
_UNTURNED = replace(_SMOLLM3_LAYER, rope_table=None)

# By how much transformers 5.24 slows each pair: its inv_freq of "default" over that of "llama3".
LLAMA_31_FACTORS = _llama3_factors(
    64, 29, (1.207484, 1.553414, 2.026313, 2.69453, 3.684254, 5.257327), 8.0
)
LLAMA_32_FACTORS = _llama3_factors(32, 15, (1.651329, 3.292263, 9.666731), 32.0)

PUBLISHED: dict[str, tuple[Values, ModelConfig, bool]] = {
    # Quoted in full by a reimplementation, and in kevinstephano/thunder_model_blocks.
    "Llama-3.2-1B": (
        _LLAMA
        | {
            "head_dim": 64,
            "hidden_size": 2048,
            "intermediate_size": 8192,
            "num_hidden_layers": 16,
            "rope_scaling": _LLAMA3_SCALING | {"factor": 32.0},
            "tie_word_embeddings": True,
        },
        _model(
            (LayerConfig(32, 8, 64, 8192),) * 16,
            2048,
            128256,
            131072,
            theta=500000.0,
            norm_eps=1e-5,
            factors=LLAMA_32_FACTORS,
        ),
        True,
    ),
    # Its rope_scaling as transformers prints it; sizes as in oumi's configs/recipes/llama3_1.
    "Llama-3.1-8B-Instruct": (
        _LLAMA
        | {
            "hidden_size": 4096,
            "intermediate_size": 14336,
            "num_hidden_layers": 32,
            "rope_scaling": _LLAMA3_SCALING | {"factor": 8.0},
            "tie_word_embeddings": False,
        },
        _model(
            (LayerConfig(32, 8, 128, 14336),) * 32,
            4096,
            128256,
            131072,
            theta=500000.0,
            norm_eps=1e-5,
            factors=LLAMA_31_FACTORS,
        ),
        False,
    ),
    # A register of small models, which prints each file.
    "Qwen2.5-0.5B": (
        _QWEN2
        | {
            "eos_token_id": 151643,
            "hidden_size": 896,
            "intermediate_size": 4864,
            "max_window_layers": 24,
            "num_attention_heads": 14,
            "num_hidden_layers": 24,
            "num_key_value_heads": 2,
            "sliding_window": 32768,
            "tie_word_embeddings": True,
            "transformers_version": "4.40.1",
            "use_mrope": False,
            "vocab_size": 151936,
        },
        _model((LayerConfig(14, 2, 64, 4864, qkv_bias=True),) * 24, 896, 151936, 32768, theta=1e6),
        True,
    ),
    # rwth-i6/i6_experiments, qwen2_configs.py.
    "Qwen2-0.5B": (
        _QWEN2
        | {
            "eos_token_id": 151643,
            "hidden_size": 896,
            "intermediate_size": 4864,
            "max_position_embeddings": 131072,
            "max_window_layers": 24,
            "num_attention_heads": 14,
            "num_hidden_layers": 24,
            "num_key_value_heads": 2,
            "sliding_window": 131072,
            "tie_word_embeddings": True,
            "transformers_version": "4.40.1",
            "vocab_size": 151936,
        },
        _model((LayerConfig(14, 2, 64, 4864, qkv_bias=True),) * 24, 896, 151936, 131072, theta=1e6),
        True,
    ),
    # The register of small models, and a comment in a program that runs it.
    "Qwen3-0.6B": (
        _QWEN3
        | {
            "hidden_size": 1024,
            "intermediate_size": 3072,
            "max_window_layers": 28,
            "num_attention_heads": 16,
            "num_hidden_layers": 28,
            "num_key_value_heads": 8,
            "tie_word_embeddings": True,
        },
        _model((LayerConfig(16, 8, 128, 3072, qk_norm=True),) * 28, 1024, 151936, 40960, theta=1e6),
        True,
    ),
    # Tests of two programs that read HuggingFaceTB/SmolLM3-3B, with the keys that its makers'
    # tiny copies have beside them.
    "SmolLM3-3B": (
        {
            "architectures": ["SmolLM3ForCausalLM"],
            "attention_bias": False,
            "attention_dropout": 0.0,
            "bos_token_id": 128000,
            "eos_token_id": 128012,
            "hidden_act": "silu",
            "hidden_size": 2048,
            "initializer_range": 0.02,
            "intermediate_size": 11008,
            "max_position_embeddings": 65536,
            "max_window_layers": 28,
            "mlp_bias": False,
            "model_type": "smollm3",
            "no_rope_layer_interval": 4,
            "no_rope_layers": [1, 1, 1, 0] * 9,
            "num_attention_heads": 16,
            "num_hidden_layers": 36,
            "num_key_value_heads": 4,
            "pad_token_id": 128004,
            "pretraining_tp": 2,
            "rms_norm_eps": 1e-06,
            "rope_scaling": None,
            "rope_theta": 5000000.0,
            "sliding_window": None,
            "tie_word_embeddings": True,
            "torch_dtype": "bfloat16",
            "transformers_version": "4.54.0",
            "use_cache": True,
            "use_sliding_window": False,
            "vocab_size": 128256,
        },
        _model(
            (_SMOLLM3_LAYER, _SMOLLM3_LAYER, _SMOLLM3_LAYER, _UNTURNED) * 9,
            2048,
            128256,
            65536,
            theta=5e6,
        ),
        True,
    ),
}

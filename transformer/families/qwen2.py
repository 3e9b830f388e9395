"""Qwen2 and Qwen2.5, and what has taken their form, as R1-Distill-Qwen: biases on q, k and v.

``models/qwen2`` of transformers.
"""

from dataclasses import replace

from pi_cluster.transformer.config import LayerConfig
from pi_cluster.transformer.families.config_keys import ConfigKeys
from pi_cluster.transformer.families.family import Family, GgufFamily, Layers
from pi_cluster.transformer.families.layer_windows import windows_of_later_layers
from pi_cluster.transformer.families.tensor_forms import GGUF_NEOX


def _layers(keys: ConfigKeys, plain: LayerConfig, n_layers: int) -> Layers:
    keys.flag("attention_bias")  # transformers does not look at it
    return windows_of_later_layers(keys, (replace(plain, qkv_bias=True),) * n_layers)


def _layers_of_gguf(plain: LayerConfig, n_layers: int) -> Layers:
    return (replace(plain, qkv_bias=True),) * n_layers


FAMILY = Family(
    architecture="Qwen2ForCausalLM",
    model_type="qwen2",
    defaults={
        "num_key_value_heads": 32,
        "max_position_embeddings": 32_768,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10_000.0,
    },
    layers=_layers,
    gguf=GgufFamily(("qwen2",), GGUF_NEOX, _layers_of_gguf),
)

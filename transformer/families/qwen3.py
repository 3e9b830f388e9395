"""Qwen3's dense models: queries and keys are normed within each head, before they are turned.

``models/qwen3`` of transformers. ``head_dim`` is 128 where the file does not say it.
"""

from dataclasses import replace

from pi_cluster.transformer.config import LayerConfig
from pi_cluster.transformer.families.config_keys import ConfigKeys
from pi_cluster.transformer.families.family import Family, GgufFamily, Layers
from pi_cluster.transformer.families.layer_windows import windows_of_later_layers
from pi_cluster.transformer.families.tensor_forms import GGUF_NEOX


def _layers(keys: ConfigKeys, plain: LayerConfig, n_layers: int) -> Layers:
    has_biases = keys.flag("attention_bias")
    layer = replace(plain, qk_norm=True, qkv_bias=has_biases, o_bias=has_biases)
    return windows_of_later_layers(keys, (layer,) * n_layers)


def _layers_of_gguf(plain: LayerConfig, n_layers: int) -> Layers:
    return (replace(plain, qk_norm=True),) * n_layers


FAMILY = Family(
    architecture="Qwen3ForCausalLM",
    model_type="qwen3",
    defaults={
        "num_key_value_heads": 32,
        "head_dim": 128,
        "max_position_embeddings": 32_768,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10_000.0,
    },
    layers=_layers,
    gguf=GgufFamily(("qwen3",), GGUF_NEOX, _layers_of_gguf),
)

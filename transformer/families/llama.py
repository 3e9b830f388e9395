"""Llama 2 and 3, and what has taken their form: TinyLlama, SmolLM2, R1-Distill-Llama and more.

``models/llama`` of transformers. No window, whatever the file says. Older GGUFs of Mistral call
themselves llama, too; llama.cpp sees all positions with either.
"""

from dataclasses import replace

from pi_cluster.transformer.config import LayerConfig
from pi_cluster.transformer.config_faults import as_json
from pi_cluster.transformer.families.config_keys import ConfigKeys
from pi_cluster.transformer.families.family import Family, GgufFamily, Layers
from pi_cluster.transformer.families.layer_windows import no_windows
from pi_cluster.transformer.families.tensor_forms import GGUF_NORM


def _layers(keys: ConfigKeys, plain: LayerConfig, n_layers: int) -> Layers:
    has_biases = keys.flag("attention_bias")
    no_windows(keys, n_layers)
    if (window := keys.ask("sliding_window")) is not None:
        keys.notes.append(
            f"{keys.file_name}: sliding_window {as_json(window)} is not used, because "
            "transformers' LlamaForCausalLM has no window"
        )
    return (replace(plain, qkv_bias=has_biases, o_bias=has_biases),) * n_layers


FAMILY = Family(
    architecture="LlamaForCausalLM",
    model_type="llama",
    defaults={"max_position_embeddings": 2_048, "rms_norm_eps": 1e-6, "rope_theta": 10_000.0},
    layers=_layers,
    gguf=GgufFamily(("llama",), GGUF_NORM),
)

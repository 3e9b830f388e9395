"""SmolLM3: every fourth layer does not turn its queries and keys (arXiv:2501.18795).

``models/smollm3`` of transformers. Its list ``no_rope_layers`` has 1 where a layer *is* turned. A
window, where one is used, is that of the layers that are not.
"""

from dataclasses import replace

from pi_cluster.transformer.config import LayerConfig
from pi_cluster.transformer.families.config_keys import ConfigKeys
from pi_cluster.transformer.families.family import Family, GgufFamily, Layers
from pi_cluster.transformer.families.layer_windows import optional_windows
from pi_cluster.transformer.families.tensor_forms import GGUF_NORM

_INTERVAL = 4  # no_rope_layer_interval where it is absent, and always in llama.cpp


def _layers(keys: ConfigKeys, plain: LayerConfig, n_layers: int) -> Layers:
    has_biases = keys.flag("attention_bias")
    plain = replace(plain, qkv_bias=has_biases, o_bias=has_biases)
    is_turned = _turned_layers(keys, n_layers)
    keys.ask("max_window_layers")  # in its published files, of no use to transformers
    layers = _layers_turned(plain, is_turned)
    return optional_windows(keys, layers, [not turned for turned in is_turned], default=None)


def _layers_of_gguf(plain: LayerConfig, n_layers: int) -> Layers:
    return _layers_turned(plain, _all_but_every(_INTERVAL, n_layers))


def _turned_layers(keys: ConfigKeys, n_layers: int) -> list[bool]:
    interval = keys.size("no_rope_layer_interval", "n_layers", _INTERVAL)
    said = keys.ask("no_rope_layers")
    if said is None:
        return _all_but_every(interval, n_layers)
    if not isinstance(said, list) or len(said) < n_layers or any(one not in (0, 1) for one in said):
        raise keys.refusal("no_rope_layers", f"it must be a list of 0 or 1 for {n_layers} layers")
    return [one == 1 for one in said[:n_layers]]


def _all_but_every(interval: int, n_layers: int) -> list[bool]:
    return [number % interval != 0 for number in range(1, n_layers + 1)]


def _layers_turned(plain: LayerConfig, is_turned: list[bool]) -> Layers:
    return tuple(plain if turned else replace(plain, rope_table=None) for turned in is_turned)


FAMILY = Family(
    architecture="SmolLM3ForCausalLM",
    model_type="smollm3",
    defaults={
        "num_key_value_heads": 4,
        "max_position_embeddings": 32_768,
        "rms_norm_eps": 1e-6,
        "rope_theta": 2_000_000.0,
        "tie_word_embeddings": True,
    },
    layers=_layers,
    gguf=GgufFamily(("smollm3",), GGUF_NORM, _layers_of_gguf),
)

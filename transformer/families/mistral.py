"""Mistral 7B, Nemo, Small, and Ministral 8B, whose layers may have windows that differ.

``models/mistral`` and ``models/ministral`` of transformers, which takes a ``mistral`` that has
``layer_types`` for a ``ministral``.
"""

from dataclasses import replace

from pi_cluster.transformer.config import LayerConfig
from pi_cluster.transformer.families.config_keys import ConfigKeys
from pi_cluster.transformer.families.family import Family, GgufFamily, Layers
from pi_cluster.transformer.families.layer_windows import read_layer_types, with_windows
from pi_cluster.transformer.families.tensor_forms import GGUF_NORM

_DEFAULTS = {
    "num_key_value_heads": 8,
    "max_position_embeddings": 131_072,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10_000.0,
    "sliding_window": 4_096,
}


def _layers(keys: ConfigKeys, plain: LayerConfig, n_layers: int) -> Layers:
    window = keys.window("sliding_window")
    if "sliding_window" not in keys:
        window = keys.default("sliding_window", _DEFAULTS, "MistralForCausalLM")
    _refuse_contradictions(keys, window)
    has_window = read_layer_types(keys, n_layers)
    if window is None:
        if has_window and any(has_window):
            raise keys.refusal("layer_types", "but there is no sliding_window")
        return (plain,) * n_layers
    if has_window and not any(has_window):
        raise keys.refusal(
            "layer_types",
            f"but there is a sliding_window of {window}: find out which is right, and set "
            "sliding_window to null if there is none",
        )
    return with_windows((plain,) * n_layers, window, has_window or [True] * n_layers)


def _refuse_contradictions(keys: ConfigKeys, window: int | None) -> None:
    """Refuse keys of other families, which transformers does not look at here, if they differ."""
    said = "no sliding_window" if window is None else f"a sliding_window of {window}"
    if keys.ask("use_sliding_window") not in (None, window is not None):
        raise keys.refusal(
            "use_sliding_window",
            f"but there is {said}: find out which is right, and set sliding_window to null if "
            "there is none",
        )
    if keys.ask("max_window_layers") not in (None, 0) and window is not None:
        raise keys.refusal("max_window_layers", "Mistral's windows do not begin at a later layer")


FAMILY = Family(
    architecture="MistralForCausalLM",
    model_type="mistral",
    defaults=_DEFAULTS,
    layers=_layers,
    gguf=GgufFamily(("mistral3",), GGUF_NORM),
)
MINISTRAL = replace(FAMILY, architecture="MinistralForCausalLM", model_type="ministral", gguf=None)

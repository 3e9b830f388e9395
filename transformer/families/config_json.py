"""Hugging Face's ``config.json`` of a Mistral or Llama -> the shape of the model.

The reference is transformers 5.24: ``models/mistral``, ``models/llama`` and
``modeling_rope_utils.py``.
"""

from collections.abc import Mapping
from typing import Any

from pi_cluster.transformer.config_faults import MAX_SIZES, as_json
from pi_cluster.transformer.errors import UnsupportedModel
from pi_cluster.transformer.families.config_json_keys import HARMLESS, HARMLESS_VALUES
from pi_cluster.transformer.families.config_keys import ConfigKeys, ReadConfig

FILE_NAME = "config.json"

KEYS = {
    "dim": "hidden_size",
    "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads",
    "n_kv_heads": "num_key_value_heads",
    "head_dim": "head_dim",
    "hidden_dim": "intermediate_size",
    "vocab_size": "vocab_size",
    "norm_eps": "rms_norm_eps",
    "rope_theta": "rope_theta",
    "window": "sliding_window",
    "max_positions": "max_position_embeddings",
}
"""The name that each field of a ``ModelConfig`` has in ``config.json``."""

_TYPES = {"MistralForCausalLM": "mistral", "LlamaForCausalLM": "llama"}
# What transformers takes where the key is not there at all; null means something else.
_DEFAULTS: dict[str, dict[str, Any]] = {
    "MistralForCausalLM": {
        "num_key_value_heads": 8,
        "max_position_embeddings": 131_072,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10_000.0,
        "sliding_window": 4_096,
    },
    "LlamaForCausalLM": {
        "max_position_embeddings": 2_048,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10_000.0,
    },
}
_QUANTIZED = ("quantization_config", "quantization", "compression_config")
_ROPE_OBJECTS = ("rope_parameters", "rope_scaling")  # the first is what newer files have
_ROPE_HARMLESS = frozenset({"original_max_position_embeddings"})  # of no use to the type "default"


def read_config_json(values: Mapping[str, Any]) -> ReadConfig:
    """Read a parsed ``config.json``.

    Where a key is absent, transformers' default is taken and a note says so. Files that
    transformers wrote have all of them, but for the theta of Llamas from before version 4.33.
    Raises ``UnsupportedModel`` naming the key for all that is not computed here, or not known.
    """
    keys = ConfigKeys(FILE_NAME, values)
    architecture = _architecture(keys)
    _refuse_other_arithmetic(keys)
    dim = keys.size("hidden_size", "dim")
    n_heads = keys.size("num_attention_heads", "n_heads")
    n_layers = keys.size("num_hidden_layers", "n_layers")
    fields = {
        "dim": dim,
        "n_layers": n_layers,
        "n_heads": n_heads,
        "n_kv_heads": _kv_heads(keys, architecture, n_heads),
        "head_dim": _head_dim(keys, dim, n_heads),
        "hidden_dim": keys.size("intermediate_size", "hidden_dim"),
        "vocab_size": keys.size("vocab_size", "vocab_size"),
        "norm_eps": keys.real("rms_norm_eps", _default(keys, architecture, "rms_norm_eps")),
        "rope_theta": _theta(keys, architecture),
        "window": _window(keys, architecture, n_layers),
        "max_positions": keys.size(
            "max_position_embeddings",
            "max_positions",
            _default(keys, architecture, "max_position_embeddings"),
        ),
    }
    tied = keys.flag("tie_word_embeddings")
    keys.refuse_rest(HARMLESS, HARMLESS_VALUES)
    return ReadConfig(keys.build(fields, KEYS), tied, tuple(keys.notes))


def _default(keys: ConfigKeys, architecture: str, key: str) -> Any:
    """What transformers takes for a key that has no value; noted if that is so."""
    default = _DEFAULTS[architecture][key]
    if keys.ask(key) is None:
        keys.assume(key, default, f"as transformers does for {architecture}")
    return default


def _architecture(keys: ConfigKeys) -> str:
    named, model_type = keys.ask("architectures"), keys.ask("model_type")
    by_type = next((name for name, its_type in _TYPES.items() if its_type == model_type), None)
    if not named:
        named = [by_type or f"model_type {model_type!r}"]
    if not isinstance(named, list) or len(named) != 1 or str(named[0]) not in _TYPES:
        raise UnsupportedModel(
            f"{FILE_NAME}: architecture {as_json(named)} is not supported; "
            f"supported are {' and '.join(_TYPES)}"
        )
    if model_type not in (None, _TYPES[str(named[0])]):
        # transformers goes by the type, vLLM by the architecture, and their windows differ.
        raise keys.refusal(
            "model_type", f"that is not the type of {named[0]}, which architectures names"
        )
    return str(named[0])


def _refuse_other_arithmetic(keys: ConfigKeys) -> None:
    if keys.ask("hidden_act") not in (None, "silu", "swish"):
        raise keys.refusal("hidden_act", "only 'silu' is computed here: choose another checkpoint")
    for key in _QUANTIZED:
        keys.refuse_quantised(key)
    own_code = keys.ask("auto_map")
    classes = own_code if isinstance(own_code, dict) else {}
    if own_code and (
        not classes or any(n.startswith(("AutoModel", "AutoConfig")) for n in classes)
    ):
        raise keys.refusal(
            "auto_map",
            "the checkpoint brings code of its own for its model, which is never run here",
        )


def _kv_heads(keys: ConfigKeys, architecture: str, n_heads: int) -> int:
    key = "num_key_value_heads"
    default = _DEFAULTS[architecture].get(key)
    if key in keys or default is None:
        return keys.size(key, "n_kv_heads", n_heads)
    keys.assume(key, default, f"as transformers does for {architecture}")
    return int(default)


def _head_dim(keys: ConfigKeys, dim: int, n_heads: int) -> int:
    if keys.ask("head_dim") is not None:
        return keys.size("head_dim", "head_dim")
    if dim % n_heads:
        raise keys.refusal(
            "hidden_size", f"{n_heads} heads do not divide it, and there is no head_dim"
        )
    return dim // n_heads


def _theta(keys: ConfigKeys, architecture: str) -> float:
    """The one theta that the file names, in whatever place; two that differ are refused."""
    found = {}
    for key in _ROPE_OBJECTS:
        rope = keys.ask(key)
        if rope is not None:
            _refuse_scaled_rope(keys, key, rope)
            if rope.get("rope_theta") is not None:
                found[key] = ConfigKeys(f"{FILE_NAME}: {key}", rope).real("rope_theta")
    if keys.ask("partial_rotary_factor") not in (None, 1):
        raise keys.refusal("partial_rotary_factor", "only whole heads are rotated here")
    if keys.ask("rope_theta") is not None or not found:
        found["rope_theta"] = keys.real("rope_theta", _default(keys, architecture, "rope_theta"))
    if len(set(found.values())) > 1:
        shown = " and ".join(f"{theta:g} in {key}" for key, theta in found.items())
        raise UnsupportedModel(
            f"{FILE_NAME} has two rope_theta that differ, {shown}: find out which is right, "
            "and remove the other"
        )
    return next(iter(found.values()))


def _refuse_scaled_rope(keys: ConfigKeys, name: str, rope: Any) -> None:
    if not isinstance(rope, dict):
        raise keys.refusal(name, "it must be an object or null")
    if any(isinstance(value, dict) for value in rope.values()):
        raise keys.refusal(name, "it differs from layer to layer, which is not computed here")
    inner = ConfigKeys(f"{FILE_NAME}: {name}", rope)
    kinds = {inner.ask(key) for key in ("rope_type", "type")} - {None} if _plain(rope) else {"?"}
    if kinds - {"default"}:
        raise keys.refusal(name, "only the rope type 'default' is computed here")
    if inner.ask("partial_rotary_factor") not in (None, 1):
        raise inner.refusal("partial_rotary_factor", "only whole heads are rotated here")
    inner.ask("rope_theta")
    inner.refuse_rest(_ROPE_HARMLESS, {"factor": (1,), "attention_factor": (1,)})


def _plain(rope: dict[str, Any]) -> bool:
    return all(isinstance(rope.get(key), str | None) for key in ("rope_type", "type"))


def _window(keys: ConfigKeys, architecture: str, n_layers: int) -> int | None:
    """The window of every layer, once all keys that speak of windows agree on it.

    transformers' Mistral looks at ``sliding_window`` alone, its Llama at nothing. The other keys
    come from models whose layers differ: where they would give another answer, it is refused.
    """
    window: int | None = keys.window("sliding_window")
    if architecture != "MistralForCausalLM":
        if window is not None:
            keys.notes.append(
                f"{FILE_NAME}: sliding_window {as_json(window)} is not used, because "
                f"transformers' {architecture} has no window"
            )
        window = None
    elif "sliding_window" not in keys:
        window = _default(keys, architecture, "sliding_window")
    elif window is not None and (type(window) is not int or not 1 <= window <= MAX_SIZES["window"]):
        raise keys.refusal(
            "sliding_window",
            f"it must be one whole number from 1 to {MAX_SIZES['window']}, or null for no window",
        )
    _refuse_other_windows(keys, window, n_layers)
    return window


def _refuse_other_windows(keys: ConfigKeys, window: int | None, n_layers: int) -> None:
    said = "no sliding_window" if window is None else f"a sliding_window of {window}"
    use = keys.ask("use_sliding_window")
    if use not in (None, window is not None):
        raise keys.refusal(
            "use_sliding_window",
            f"but every layer of this model has {said}: find out which is right, and set "
            "sliding_window to null if there is none",
        )
    from_layer = keys.ask("max_window_layers")
    if window is not None and from_layer not in (None, 0):
        raise keys.refusal("max_window_layers", "only one window for all layers is computed here")
    kinds = keys.ask("layer_types")
    expected = "full_attention" if window is None else "sliding_attention"
    if kinds and kinds != [expected] * n_layers:
        raise keys.refusal(
            "layer_types",
            f"but every layer of this model has {said}, and layers that differ are not "
            "computed here: choose another checkpoint",
        )

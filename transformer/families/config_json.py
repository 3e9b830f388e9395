"""Hugging Face's ``config.json`` -> the shape of the model: what all families have in common.

The reference is transformers 5.24: its ``models/`` and ``modeling_rope_utils.py``.
"""

from collections.abc import Mapping
from typing import Any

from pi_cluster.transformer.config_faults import MAX_SIZES, as_json
from pi_cluster.transformer.errors import UnsupportedModel
from pi_cluster.transformer.families.config_json_keys import HARMLESS, HARMLESS_VALUES
from pi_cluster.transformer.families.config_keys import ConfigKeys
from pi_cluster.transformer.families.family import Family, ReadConfig
from pi_cluster.transformer.families.registry import family_of, family_of_type
from pi_cluster.transformer.families.rope_keys import read_rope

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
    "rope_factors": "rope_scaling",
    "window": "sliding_window",
    "max_positions": "max_position_embeddings",
}
"""The name that each field of a model has in ``config.json``."""

_QUANTIZED = ("quantization_config", "quantization", "compression_config")


def read_config_json(values: Mapping[str, Any]) -> ReadConfig:
    """Read a parsed ``config.json``.

    Where a key is absent, transformers' default is taken and a note says so. Files that
    transformers wrote have all of them, but for the theta of Llamas from before version 4.33.
    Raises ``UnsupportedModel`` naming the key for all that is not computed here, or not known.
    """
    keys = ConfigKeys(FILE_NAME, values)
    family = _family(keys)
    _refuse_other_arithmetic(keys)

    def default(key: str) -> Any:
        return keys.default(key, family.defaults, family.architecture)

    dim = keys.size("hidden_size", "dim")
    n_heads = keys.size("num_attention_heads", "n_heads")
    n_layers = keys.size("num_hidden_layers", "n_layers")
    plain = keys.plain_layer(
        KEYS,
        n_heads=n_heads,
        n_kv_heads=_kv_heads(keys, family, n_heads),
        head_dim=_head_dim(keys, family, dim, n_heads),
        hidden_dim=keys.size("intermediate_size", "hidden_dim"),
    )
    norm_eps = keys.real("rms_norm_eps", default("rms_norm_eps"))
    keys.check({"norm_eps": norm_eps}, KEYS)
    config = keys.build(
        dim=dim,
        vocab_size=keys.size("vocab_size", "vocab_size"),
        norm_eps=norm_eps,
        max_positions=keys.size(
            "max_position_embeddings", "max_positions", default("max_position_embeddings")
        ),
        rope_tables=(read_rope(keys, plain.head_dim, family.defaults, family.architecture),),
        layers=family.layers(keys, plain, n_layers),
    )
    tied = keys.flag("tie_word_embeddings", family.defaults.get("tie_word_embeddings", False))
    keys.refuse_rest(HARMLESS, HARMLESS_VALUES)
    return ReadConfig(config, tied, family, tuple(keys.notes))


def _family(keys: ConfigKeys) -> Family:
    named, model_type = keys.ask("architectures"), keys.ask("model_type")
    if not named:
        return family_of_type(str(model_type), FILE_NAME)
    if not isinstance(named, list) or len(named) != 1 or not isinstance(named[0], str):
        raise UnsupportedModel(
            f"{FILE_NAME}: architectures is {as_json(named)}; it must name one architecture"
        )
    family = family_of(named[0], FILE_NAME)
    if model_type not in (None, family.model_type):
        # transformers goes by the type, vLLM by the architecture, and their windows differ.
        raise keys.refusal(
            "model_type", f"that is not the type of {named[0]}, which architectures names"
        )
    return family


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


def _kv_heads(keys: ConfigKeys, family: Family, n_heads: int) -> int:
    """As many as there are heads where the key is null, or absent and the family has no other."""
    key = "num_key_value_heads"
    if key in keys or key not in family.defaults:
        return keys.size(key, "n_kv_heads", n_heads)
    return int(keys.default(key, family.defaults, family.architecture))


def _head_dim(keys: ConfigKeys, family: Family, dim: int, n_heads: int) -> int:
    if keys.ask("head_dim") is not None:
        return keys.size("head_dim", "head_dim")
    if "head_dim" in family.defaults:
        return int(keys.default("head_dim", family.defaults, family.architecture))
    if dim % n_heads:
        raise keys.refusal(
            "hidden_size", f"{n_heads} heads do not divide it, and there is no head_dim"
        )
    if dim // n_heads > MAX_SIZES["head_dim"]:
        raise keys.refusal("hidden_size", f"{n_heads} heads of it would be too wide")
    return dim // n_heads

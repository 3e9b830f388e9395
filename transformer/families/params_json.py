"""Mistral's own ``params.json`` -> the shape of the model.

Its readers are mistral-inference (``args.py``, ``transformer.py``), transformers' converter
(``convert_mistral_weights_to_hf.py``) and vLLM (``transformers_utils/configs/mistral.py``).
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pi_cluster.transformer.config import RopeTable
from pi_cluster.transformer.config_faults import MAX_SIZES
from pi_cluster.transformer.errors import UnsupportedModel
from pi_cluster.transformer.families import mistral
from pi_cluster.transformer.families.config_keys import ConfigKeys, as_number, is_window
from pi_cluster.transformer.families.family import ReadConfig

FILE_NAME = "params.json"

KEYS = {
    "dim": "dim",
    "n_layers": "n_layers",
    "n_heads": "n_heads",
    "n_kv_heads": "n_kv_heads",
    "head_dim": "head_dim",
    "hidden_dim": "hidden_dim",
    "vocab_size": "vocab_size",
    "norm_eps": "norm_eps",
    "rope_theta": "rope_theta",
    "rope_factors": "rope_scaling",
    "window": "sliding_window",
    "max_positions": "max_position_embeddings",
}
"""The name that each field of a ``ModelConfig`` has in ``params.json``."""

_MAX_POSITIONS = 32_768  # of all releases of Mistral 7B

_HARMLESS = frozenset(
    {
        # How it is run and held; how hidden_dim was chosen, which is given; ids, read elsewhere.
        *("max_batch_size", "dtype", "torch_dtype", "multiple_of", "ffn_dim_multiplier"),
        *("bos_token_id", "eos_token_id", "pad_token_id", "dropout", "use_cache"),
    }
)
# What mistral-inference, vLLM and transformers read beyond a dense model of text.
_HARMLESS_VALUES: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("moe", "lora", "yarn", "rope_scaling", "llama_4_scaling"), ({}, False)),
    **dict.fromkeys(("vision_encoder", "multimodal"), ({}, False)),
    **dict.fromkeys(("qk_norm", "use_biases", "bias"), (False,)),
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank", "qk_rope_head_dim"), (0,)),
    **dict.fromkeys(("qk_nope_head_dim", "v_head_dim"), (0,)),
    "activation": ("silu", "swish"),
    "causal": (True,),
    "ada_rms_norm_t_cond": (False,),
    "model_type": ("transformer",),
}


def read_params_json(values: Mapping[str, Any]) -> ReadConfig:
    """Read a parsed ``params.json``.

    Raises ``UnsupportedModel`` naming the key for all that is not computed here, or not known.
    """
    keys = ConfigKeys(FILE_NAME, values)
    keys.refuse_quantised("quantization")
    n_heads = keys.size("n_heads", "n_heads")
    windows = _windows(keys, keys.size("n_layers", "n_layers"))
    plain = keys.plain_layer(
        KEYS,
        n_heads=n_heads,
        n_kv_heads=keys.size("n_kv_heads", "n_kv_heads", n_heads),
        head_dim=keys.size("head_dim", "head_dim"),
        hidden_dim=keys.size("hidden_dim", "hidden_dim"),
    )
    norm_eps, theta = keys.real("norm_eps"), _theta(keys, any(windows))
    keys.check({"norm_eps": norm_eps, "rope_theta": theta}, KEYS)
    config = keys.build(
        dim=keys.size("dim", "dim"),
        vocab_size=keys.size("vocab_size", "vocab_size"),
        norm_eps=norm_eps,
        max_positions=_positions(keys),
        rope_tables=(RopeTable(theta, plain.head_dim),),
        layers=tuple(replace(plain, window=window) for window in windows),
    )
    tied = keys.flag("tied_embeddings")
    keys.refuse_rest(_HARMLESS, _HARMLESS_VALUES)
    return ReadConfig(config, tied, mistral.FAMILY, tuple(keys.notes))


def _windows(keys: ConfigKeys, n_layers: int) -> list[int | None]:
    """The window of each layer; a list is a pattern that repeats over the layers.

    ``_sliding_window`` is what mistral-inference takes where ``sliding_window`` is null.
    """
    found = {key: as_number(keys.ask(key)) for key in ("sliding_window", "_sliding_window")}
    found = {key: window for key, window in found.items() if window is not None}
    if len(found) > 1:
        raise keys.refusal(
            "_sliding_window", "sliding_window is there too: only one of them may be"
        )
    for key, window in found.items():
        pattern = window if isinstance(window, list) else [window]
        if not pattern or n_layers % len(pattern):
            raise keys.refusal(key, f"its pattern must repeat whole over {n_layers} layers")
        if any(one is not None and not is_window(one) for one in pattern):
            raise keys.refusal(
                key, f"each must be a whole number from 1 to {MAX_SIZES['window']}, or null"
            )
        return pattern * (n_layers // len(pattern))
    return [None] * n_layers


def _theta(keys: ConfigKeys, has_window: bool) -> float:
    """The file's theta, or that of version 0.1, whose file has a window and no theta.

    With neither, readers differ: mistral-inference takes 1000000, transformers' converter 10000.
    """
    if keys.ask("rope_theta") is not None:
        return keys.real("rope_theta")
    if not has_window:
        raise UnsupportedModel(
            f"{FILE_NAME} has neither rope_theta nor sliding_window, so that its rope_theta may "
            "be 10000 (transformers) or 1000000 (mistral-inference): add the right one to the "
            "file; the model's config.json has it"
        )
    keys.assume("rope_theta", 10_000.0, "as Mistral 7B version 0.1, whose file has a window, had")
    return 10_000.0


def _positions(keys: ConfigKeys) -> int:
    stated = [
        key for key in ("max_position_embeddings", "max_seq_len") if keys.ask(key) is not None
    ]
    if stated:
        return keys.size(stated[0], "max_positions")
    keys.assume("max_position_embeddings", _MAX_POSITIONS, "as long as Mistral 7B's texts may be")
    return _MAX_POSITIONS

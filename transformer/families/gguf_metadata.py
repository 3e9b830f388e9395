"""The metadata of a GGUF -> the shape of the model: what all families have in common.

Keys are llama.cpp's, as its ``convert_hf_to_gguf.py`` writes and ``llama-model.cpp`` reads them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pi_cluster.transformer.config import LayerConfig, RopeTable
from pi_cluster.transformer.config_faults import find_fault
from pi_cluster.transformer.errors import UnsupportedModel
from pi_cluster.transformer.families.config_keys import ConfigKeys
from pi_cluster.transformer.families.family import ReadConfig
from pi_cluster.transformer.families.registry import family_of_gguf

ROPE_FACTORS = "rope_freqs.weight"
"""The tensor with a factor for each rotary pair: llama3 scaling, computed by the converter."""

KEYS = {
    "dim": "embedding_length",
    "n_layers": "block_count",
    "n_heads": "attention.head_count",
    "n_kv_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length",
    "hidden_dim": "feed_forward_length",
    "norm_eps": "attention.layer_norm_rms_epsilon",
    "rope_theta": "rope.freq_base",
    "max_positions": "context_length",
}
"""The name that each field of a model has in the metadata, after the architecture and a dot."""

_DEFAULT_THETA = 10_000.0  # llama.cpp's
_HARMLESS = frozenset(
    {
        # The embedding has it; how the file was made; what matters for scaled angles only.
        *("vocab_size", "tensor_data_layout", "rope.scaling.original_context_length"),
        "rope.scaling.finetuned",
    }
)
_HARMLESS_VALUES: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("expert_count", "expert_used_count", "nextn_predict_layers"), (0,)),
    **dict.fromkeys(("attention.sliding_window", "attention.temperature_scale"), (0,)),
    **dict.fromkeys(("rope.scaling.factor", "rope.scale_linear"), (1,)),
    "rope.scaling.type": ("none",),
    "attention.causal": (True,),
    "use_parallel_residual": (False,),
}


@dataclass(frozen=True, slots=True)
class GgufFacts:
    """What a GGUF, its parts put together, says of its model.

    ``metadata`` has every key with a Python value. ``shapes`` has every tensor's by its name, as
    ``(rows, columns)``. ``rope_factors`` are the values of ``rope_freqs.weight``, or None.
    """

    file_name: str
    metadata: Mapping[str, Any]
    shapes: Mapping[str, tuple[int, ...]]
    rope_factors: tuple[float, ...] | None


def read_gguf(facts: GgufFacts) -> ReadConfig:
    """Read the shape of a model.

    Raises ``UnsupportedModel`` naming the key for all that is not computed here, or not known.
    """
    architecture = facts.metadata.get("general.architecture")
    if not isinstance(architecture, str):
        raise UnsupportedModel(f"{facts.file_name} lacks general.architecture. Fetch it again")
    family = family_of_gguf(architecture, facts.file_name)
    assert family.gguf, architecture
    prefix = f"{architecture}."
    own = {k.removeprefix(prefix): v for k, v in facts.metadata.items() if k.startswith(prefix)}
    keys = ConfigKeys(f"{facts.file_name}: {architecture}", own)
    plain = _plain_layer(keys, facts.shapes)
    norm_eps = _decimal(keys.real(KEYS["norm_eps"]))
    keys.check({"norm_eps": norm_eps}, KEYS)
    config = keys.build(
        dim=keys.size(KEYS["dim"], "dim"),
        vocab_size=_vocab_size(facts),
        norm_eps=norm_eps,
        max_positions=keys.size(KEYS["max_positions"], "max_positions"),
        rope_tables=(_rope(keys, plain.head_dim, facts.rope_factors),),
        layers=family.gguf.layers(plain, keys.size(KEYS["n_layers"], "n_layers")),
    )
    keys.refuse_rest(_HARMLESS, _HARMLESS_VALUES)
    tied = family.gguf.tensors.name_of("output.weight") not in facts.shapes
    return ReadConfig(config, tied, family, tuple(keys.notes))


def _plain_layer(keys: ConfigKeys, shapes: Mapping[str, tuple[int, ...]]) -> LayerConfig:
    dim, n_heads = keys.size(KEYS["dim"], "dim"), keys.size(KEYS["n_heads"], "n_heads")
    head_dim = keys.size(KEYS["head_dim"], "head_dim", max(1, dim // n_heads))
    if keys.size("attention.value_length", "head_dim", head_dim) != head_dim:
        raise keys.refusal("attention.value_length", "values must be as wide as keys")
    plain = keys.plain_layer(
        KEYS,
        n_heads=n_heads,
        n_kv_heads=keys.size(KEYS["n_kv_heads"], "n_kv_heads", n_heads),
        head_dim=head_dim,
        hidden_dim=keys.size(KEYS["hidden_dim"], "hidden_dim"),
    )
    return replace(
        plain,
        qkv_bias="blk.0.attn_q.bias" in shapes,
        o_bias="blk.0.attn_output.bias" in shapes,
    )


def _rope(keys: ConfigKeys, head_dim: int, factors: tuple[float, ...] | None) -> RopeTable:
    theta = _decimal(keys.real(KEYS["rope_theta"], _DEFAULT_THETA))
    keys.check({"rope_theta": theta}, KEYS)
    if keys.size("rope.dimension_count", "rotary_dim", head_dim) != head_dim:
        raise keys.refusal("rope.dimension_count", "only whole heads are rotated here")
    if factors is None:
        return RopeTable(theta, head_dim)
    if len(factors) != head_dim // 2:
        raise UnsupportedModel(
            f"{keys.file_name}: {ROPE_FACTORS} has {len(factors)} factors for {head_dim // 2} "
            "pairs of a head"
        )
    if fault := find_fault({"factors": factors}, {"factors": ROPE_FACTORS}.__getitem__):
        raise UnsupportedModel(f"{keys.file_name}: {fault}")
    return RopeTable(theta, head_dim, factors)


def _vocab_size(facts: GgufFacts) -> int:
    shape = facts.shapes.get("token_embd.weight")
    if shape is None or len(shape) != 2:
        raise UnsupportedModel(f"{facts.file_name} lacks token_embd.weight. Fetch it again")
    return shape[0]


def _decimal(value: float) -> float:
    """The shortest decimal that a float32 of the file stands for: 1e-05 for 9.99999974e-06."""
    with np.errstate(over="ignore"):  # a value that is too large is refused as infinity
        return float(str(np.float32(value)))

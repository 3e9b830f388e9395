"""The rotary angles of a model, as the keys of ``config.json`` say them.

The reference is ``modeling_rope_utils.py`` of transformers 5.24.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Any

from pi_cluster.transformer.config import RopeTable
from pi_cluster.transformer.errors import UnsupportedModel
from pi_cluster.transformer.families.config_keys import ConfigKeys

_OBJECTS = ("rope_parameters", "rope_scaling")  # the first is what newer files have
_TWO_PI = Decimal("6.283185307179586476925286766559005768394")
_MAX_FACTOR = 1_000_000


@dataclass(frozen=True, slots=True)
class Llama3Scaling:
    """Slower turns for the pairs that turn slowly, in the words of ``config.json``."""

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_max_position_embeddings: int

    def factors(self, theta: float, rotary_dim: int) -> tuple[float, ...]:
        """By how much each pair turns more slowly, the same on every machine.

        A pair that turns more than ``high`` times within the original length keeps its pace, one
        that turns less than ``low`` times is ``factor`` times slower, and between them the
        frequencies are blended. Source: ``_compute_llama3_parameters`` of transformers.
        """
        low, high = Decimal(self.low_freq_factor), Decimal(self.high_freq_factor)
        factor, length = Decimal(self.factor), Decimal(self.original_max_position_embeddings)
        factors = []
        with localcontext(prec=40):
            for i in range(0, rotary_dim, 2):
                frequency = Decimal(theta) ** (-Decimal(i) / Decimal(rotary_dim))
                turns = length * frequency / _TWO_PI
                smooth = min(max((turns - low) / (high - low), Decimal(0)), Decimal(1))
                factors.append(float(1 / ((1 - smooth) / factor + smooth)))
        return tuple(factors)


def read_rope(
    keys: ConfigKeys, head_dim: int, defaults: Mapping[str, Any], architecture: str
) -> RopeTable:
    """The one rotary table that the file describes, in whatever place.

    Raises ``UnsupportedModel`` for scalings that are not computed here, and for two that differ.
    """
    thetas, scalings = {}, {}
    for key in _OBJECTS:
        rope = keys.ask(key)
        if rope is None:
            continue
        inner, scalings[key] = _read_object(keys, key, rope)
        if rope.get("rope_theta") is not None:
            thetas[key] = inner.real("rope_theta")
    if keys.ask("partial_rotary_factor") not in (None, 1):
        raise keys.refusal("partial_rotary_factor", "only whole heads are rotated here")
    if keys.ask("rope_theta") is not None or not thetas:
        thetas["rope_theta"] = keys.real(
            "rope_theta", keys.default("rope_theta", defaults, architecture)
        )
    if len(set(thetas.values())) > 1:
        shown = " and ".join(f"{theta:g} in {key}" for key, theta in thetas.items())
        raise UnsupportedModel(
            f"{keys.file_name} has two rope_theta that differ, {shown}: find out which is right, "
            "and remove the other"
        )
    if len(set(scalings.values())) > 1:
        raise keys.refusal("rope_scaling", "but rope_parameters says otherwise: remove one of them")
    theta, scaling = next(iter(thetas.values())), next(iter(scalings.values()), None)
    keys.check({"rope_theta": theta}, {"rope_theta": "rope_theta"})
    return RopeTable(theta, head_dim, scaling.factors(theta, head_dim) if scaling else None)


def _read_object(keys: ConfigKeys, name: str, rope: Any) -> tuple[ConfigKeys, Llama3Scaling | None]:
    if not isinstance(rope, dict):
        raise keys.refusal(name, "it must be an object or null")
    if any(isinstance(value, dict) for value in rope.values()):
        raise keys.refusal(name, "it differs from layer to layer, which is not computed here")
    kinds = [rope[key] for key in ("rope_type", "type") if rope.get(key) is not None]
    kind = kinds[0] if kinds else "default"
    if kind not in ("default", "llama3") or any(other != kind for other in kinds):
        raise keys.refusal(name, "only the rope types 'default' and 'llama3' are computed here")
    inner = ConfigKeys(f"{keys.file_name}: {name} of type {kind}", rope)
    if inner.ask("partial_rotary_factor") not in (None, 1):
        raise inner.refusal("partial_rotary_factor", "only whole heads are rotated here")
    for key in ("rope_type", "type", "rope_theta", "original_max_position_embeddings"):
        inner.ask(key)
    scaling = _read_llama3(inner) if kind == "llama3" else None
    inner.refuse_rest(frozenset(), {"factor": (1,), "attention_factor": (1,)})
    return inner, scaling


def _read_llama3(keys: ConfigKeys) -> Llama3Scaling:
    length = keys.size("original_max_position_embeddings", "max_positions")
    factor, low = keys.real("factor"), keys.real("low_freq_factor")
    high = keys.real("high_freq_factor")
    if not 1 <= factor <= _MAX_FACTOR:
        raise keys.refusal("factor", f"it must be from 1 to {_MAX_FACTOR}")
    if not 0 <= low < high <= _MAX_FACTOR:
        raise keys.refusal(
            "high_freq_factor", f"it must be above low_freq_factor and at most {_MAX_FACTOR}"
        )
    return Llama3Scaling(factor, low, high, length)

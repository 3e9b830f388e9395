"""The shape of a model: what the arithmetic needs to know and nothing else."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from pi_cluster.kernels import MAX_HEAD_DIM
from pi_cluster.transformer.errors import UnsupportedModel

# Well above every published dense model; what they prevent is a forged manifest that makes a Pi
# allocate until it dies.
MAX_SIZES = {
    "dim": 65_536,
    "n_layers": 1_024,
    "n_heads": 1_024,
    "n_kv_heads": 1_024,
    "head_dim": MAX_HEAD_DIM,
    "hidden_dim": 524_288,
    "vocab_size": 1_048_576,
    "max_positions": 16_777_216,
    "window": 16_777_216,
}
REAL_BOUNDS = {"norm_eps": (0.0, 0.1), "rope_theta": (1.0, 1e12)}
"""Each must lie above the first and at most at the second."""

MAX_WEIGHTS = 150_000_000_000
_LONGEST_SHOWN = 120


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """One dense Mistral-style decoder.

    ``window`` counts the positions a query sees, itself included; None means all of them.
    ``max_positions`` is the longest text the model was made for. Raises ``UnsupportedModel``,
    naming the field and the value, if they do not describe a model that can be computed here.
    """

    dim: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    hidden_dim: int
    vocab_size: int
    norm_eps: float
    rope_theta: float
    window: int | None
    max_positions: int

    def __post_init__(self) -> None:
        if fault := find_fault(self.to_dict()):
            raise UnsupportedModel(fault)

    @property
    def n_weights(self) -> int:
        """Number of weights, with embedding and head counted separately."""
        return _count_weights(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a plain mapping, as a store's manifest keeps them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Rebuild what ``to_dict`` returned.

        Raises ``UnsupportedModel`` for a key that is missing, not known or of the wrong type.
        """
        names = {field.name for field in fields(cls)}
        for name in sorted(names - values.keys()):
            raise UnsupportedModel(f"the model configuration lacks {name}")
        for name in sorted(values.keys() - names, key=str):
            raise UnsupportedModel(f"the model configuration names {name!r}, which is not known")
        reals = {name: finite(values[name]) for name in REAL_BOUNDS}
        for name in (name for name, real in reals.items() if real is None):
            raise UnsupportedModel(f"{name} is {as_json(values[name])}; it must be a finite number")
        return cls(**{**values, **reals})


def find_fault(
    values: Mapping[str, Any], key_of: Callable[[str], str] = lambda field: field
) -> str | None:
    """Say what about the fields of a ``ModelConfig`` cannot be computed here; None if nothing.

    ``key_of`` gives the name that a field has for whoever reads the message.
    """
    for name, limit in MAX_SIZES.items():
        value = values[name]
        if name == "window" and value is None:
            continue
        if type(value) is not int or not 1 <= value <= limit:
            return f"{key_of(name)} is {as_json(value)}; it must be from 1 to {limit}"
    for name, (low, high) in REAL_BOUNDS.items():
        value = values[name]
        if type(value) is not float or not low < value <= high:
            return (
                f"{key_of(name)} is {as_json(value)}; it must be above {low:g} and at most {high:g}"
            )
    heads, kv_heads = values["n_heads"], values["n_kv_heads"]
    if heads % kv_heads:
        return f"{key_of('n_kv_heads')} is {kv_heads}; it must divide {key_of('n_heads')}, {heads}"
    if values["head_dim"] % 2:
        return f"{key_of('head_dim')} is {values['head_dim']}; it must be even to be rotated"
    if (n_weights := _count_weights(values)) > MAX_WEIGHTS:
        return (
            f"these sizes make a model of {n_weights / 1e9:.0f} billion weights; "
            f"at most {MAX_WEIGHTS / 1e9:.0f} billion are supported"
        )
    return None


def as_json(value: Any) -> str:
    """A value as the file has it, short enough for a message."""
    try:
        text = json.dumps(value, default=repr)
    except (ValueError, RecursionError):
        return "a value too large to show"
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "..."


def finite(value: Any) -> float | None:
    """A number of a JSON file as a float; None if it is no finite number."""
    # Compared before converted: float() of a long integer from JSON would raise OverflowError.
    if type(value) not in (int, float) or abs(value) > 1e300 or math.isnan(value):
        return None
    return float(value)


def _count_weights(values: Mapping[str, Any]) -> int:
    dim, hidden_dim, vocab_size = values["dim"], values["hidden_dim"], values["vocab_size"]
    attention = 2 * dim * values["head_dim"] * (values["n_heads"] + values["n_kv_heads"])
    layer = attention + 3 * dim * hidden_dim + 2 * dim
    return int(values["n_layers"] * layer + 2 * vocab_size * dim + dim)

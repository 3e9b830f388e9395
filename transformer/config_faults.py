"""Which values of a model's configuration cannot be computed here, in words for whoever wrote them.

The bounds lie well above every published dense model; what they prevent is a forged manifest that
makes a Pi allocate until it dies.
"""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from pi_cluster.kernels import MAX_HEAD_DIM

MAX_SIZES = {
    "dim": 65_536,
    "n_layers": 1_024,
    "n_heads": 1_024,
    "n_kv_heads": 1_024,
    "head_dim": MAX_HEAD_DIM,
    "rotary_dim": MAX_HEAD_DIM,
    "hidden_dim": 524_288,
    "vocab_size": 1_048_576,
    "max_positions": 16_777_216,
    "window": 16_777_216,
}
REAL_BOUNDS = {
    "norm_eps": (0.0, 0.1),
    "rope_theta": (1.0, 1e12),
    "theta": (1.0, 1e12),
    "query_scale": (0.0, 1e3),
    "factors": (0.0, 1e6),
}
"""Each must lie above the first and at most at the second."""

FLAGS = ("qkv_bias", "o_bias", "qk_norm")
_MAY_BE_NONE = ("window", "query_scale", "factors", "rope_table")
_LONGEST_SHOWN = 120


def find_fault(
    values: Mapping[str, Any], key_of: Callable[[str], str] = lambda field: field
) -> str | None:
    """Say which of the fields of a configuration cannot be computed here; None if all can.

    ``key_of`` gives the name that a field has for whoever reads the message.
    """
    for name, value in values.items():
        if value is None and name in _MAY_BE_NONE:
            continue
        if fault := _fault_of(name, value):
            return f"{key_of(name)} is {as_json(value)}; it must be {fault}"
    heads, kv_heads = values.get("n_heads"), values.get("n_kv_heads")
    if heads is not None and kv_heads is not None and heads % kv_heads:
        return f"{key_of('n_kv_heads')} is {kv_heads}; it must divide {key_of('n_heads')}, {heads}"
    return None


def _fault_of(name: str, value: Any) -> str | None:
    """What the value of one field must be, if it is not."""
    if name in MAX_SIZES and not (type(value) is int and 1 <= value <= MAX_SIZES[name]):
        return f"from 1 to {MAX_SIZES[name]}"
    if name in ("head_dim", "rotary_dim") and value % 2:
        return "even to be rotated"
    if name in REAL_BOUNDS:
        low, high = REAL_BOUNDS[name]
        reals = value if isinstance(value, tuple) else (value,)
        if not all(type(real) is float and low < real <= high for real in reals):
            return f"above {low:g} and at most {high:g}"
    if name == "rope_table" and type(value) is not int:
        return "the number of a rope table"
    if name in FLAGS and type(value) is not bool:
        return "true or false"
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

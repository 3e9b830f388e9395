"""The shape of a model: what the arithmetic needs to know and nothing else."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from kernels import MAX_HEAD_DIM
from transformer.errors import UnsupportedModel

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
MAX_WEIGHTS = 150_000_000_000

# What transformers assumes where config.json is silent: (sliding_window, max_position_embeddings).
_HUGGING_FACE_DEFAULTS: dict[str, tuple[int | None, int]] = {
    "MistralForCausalLM": (4_096, 131_072),
    "LlamaForCausalLM": (None, 2_048),
}
_ARCHITECTURE_OF_TYPE = {"mistral": "MistralForCausalLM", "llama": "LlamaForCausalLM"}
_PARAMS_MAX_POSITIONS = 32_768  # params.json does not say; all of Mistral 7B's releases have this
_PARAMS_NOT_COMPUTED = (
    "moe",
    "lora",
    "quantization",
    "yarn",
    "rope_scaling",
    "llama_4_scaling",
    "qk_norm",
    "use_biases",
    "q_lora_rank",
    "kv_lora_rank",
    "vision_encoder",
    "multimodal",
)


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
        for name, limit in MAX_SIZES.items():
            value = getattr(self, name)
            if name == "window" and value is None:
                continue
            if type(value) is not int or not 1 <= value <= limit:
                raise UnsupportedModel(f"{name} is {value!r}; it must be from 1 to {limit}")
        for name, low, high in (("norm_eps", 0.0, 0.1), ("rope_theta", 1.0, 1e12)):
            value = getattr(self, name)
            if type(value) is not float or not low < value <= high:
                raise UnsupportedModel(
                    f"{name} is {value!r}; it must be above {low:g} and at most {high:g}"
                )
        if self.n_heads % self.n_kv_heads:
            raise UnsupportedModel(
                f"n_kv_heads is {self.n_kv_heads}; it must divide n_heads, {self.n_heads}"
            )
        if self.head_dim % 2:
            raise UnsupportedModel(f"head_dim is {self.head_dim}; it must be even to be rotated")
        if self.n_weights > MAX_WEIGHTS:
            raise UnsupportedModel(
                f"these sizes make a model of {self.n_weights / 1e9:.0f} billion weights; "
                f"at most {MAX_WEIGHTS / 1e9:.0f} billion are supported"
            )

    @property
    def n_weights(self) -> int:
        """Number of weights, with embedding and head counted separately."""
        attention = 2 * self.dim * self.head_dim * (self.n_heads + self.n_kv_heads)
        feed_forward = 3 * self.dim * self.hidden_dim
        layer = attention + feed_forward + 2 * self.dim
        return self.n_layers * layer + 2 * self.vocab_size * self.dim + self.dim

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
        reals = {name: _real(values, name) for name in ("norm_eps", "rope_theta")}
        return cls(**{**values, **reals})

    @classmethod
    def from_hugging_face(cls, values: Mapping[str, Any]) -> Self:
        """Read a parsed Hugging Face ``config.json``.

        Raises ``UnsupportedModel`` naming the key for everything that is not computed here.
        """
        architecture = _architecture(values)
        _refuse_hugging_face_extras(values)
        default_window, default_positions = _HUGGING_FACE_DEFAULTS[architecture]
        dim = _size(values, "hidden_size")
        n_heads = _size(values, "num_attention_heads")
        head_dim = _size(values, "head_dim", 0)
        if not head_dim:
            if dim % n_heads:
                raise UnsupportedModel(
                    f"hidden_size is {dim}, which {n_heads} heads do not divide, "
                    "and the configuration has no head_dim"
                )
            head_dim = dim // n_heads
        window = values.get("sliding_window", default_window)
        return cls(
            dim=dim,
            n_layers=_size(values, "num_hidden_layers"),
            n_heads=n_heads,
            n_kv_heads=_size(values, "num_key_value_heads", n_heads),
            head_dim=head_dim,
            hidden_dim=_size(values, "intermediate_size"),
            vocab_size=_size(values, "vocab_size"),
            norm_eps=_real(values, "rms_norm_eps", 1e-6),
            rope_theta=_hugging_face_theta(values),
            # transformers has no window for Llama, whatever its config.json says.
            window=window if architecture == "MistralForCausalLM" else None,
            max_positions=_size(values, "max_position_embeddings", default_positions),
        )

    @classmethod
    def from_params(cls, values: Mapping[str, Any]) -> Self:
        """Read Mistral's own, parsed ``params.json``.

        The file of version 0.1 has a ``sliding_window`` and no ``rope_theta``, which was 10000;
        later ones have a theta and no window. Raises ``UnsupportedModel`` naming the key for
        everything that is not computed here.
        """
        for name in _PARAMS_NOT_COMPUTED:
            if values.get(name):
                raise UnsupportedModel(
                    f"params.json has {name!r}; only dense Mistral models without it are supported"
                )
        if values.get("model_type", "transformer") != "transformer":
            raise UnsupportedModel(
                f"model_type {values['model_type']!r} of params.json is not supported; "
                "only 'transformer' is"
            )
        n_heads = _size(values, "n_heads")
        positions = _size(values, "max_seq_len", _PARAMS_MAX_POSITIONS)
        return cls(
            dim=_size(values, "dim"),
            n_layers=_size(values, "n_layers"),
            n_heads=n_heads,
            n_kv_heads=_size(values, "n_kv_heads", n_heads),
            head_dim=_size(values, "head_dim"),
            hidden_dim=_size(values, "hidden_dim"),
            vocab_size=_size(values, "vocab_size"),
            norm_eps=_real(values, "norm_eps"),
            rope_theta=_real(values, "rope_theta", 10_000.0),
            window=values.get("sliding_window"),
            max_positions=_size(values, "max_position_embeddings", positions),
        )


def _size(values: Mapping[str, Any], name: str, default: int | None = None) -> int:
    value = values.get(name)
    if value is None:
        value = default
    if value is None:
        raise UnsupportedModel(f"the model configuration lacks {name}")
    if type(value) is not int or value < 0 or (value == 0 and default != 0):
        raise UnsupportedModel(f"{name} is {value!r}; it must be a positive whole number")
    return value


def _real(values: Mapping[str, Any], name: str, default: float | None = None) -> float:
    value = values.get(name)
    if value is None:
        value = default
    if value is None:
        raise UnsupportedModel(f"the model configuration lacks {name}")
    # Compared before converted: float() of a long integer from JSON would raise OverflowError.
    if type(value) not in (int, float) or abs(value) > 1e300 or math.isnan(value):
        raise UnsupportedModel(f"{name} is {value!r}; it must be a finite number")
    return float(value)


def _architecture(values: Mapping[str, Any]) -> str:
    named = values.get("architectures")
    if not named:
        model_type = values.get("model_type")
        named = [_ARCHITECTURE_OF_TYPE.get(str(model_type), f"model_type {model_type!r}")]
    if (
        not isinstance(named, list)
        or len(named) != 1
        or str(named[0]) not in _HUGGING_FACE_DEFAULTS
    ):
        raise UnsupportedModel(
            f"architecture {named!r} is not supported; "
            f"supported are {' and '.join(_HUGGING_FACE_DEFAULTS)}"
        )
    return str(named[0])


def _refuse_hugging_face_extras(values: Mapping[str, Any]) -> None:
    activation = values.get("hidden_act", "silu")
    if activation != "silu":
        raise UnsupportedModel(f"hidden_act {activation!r} is not supported; only 'silu' is")
    for name in ("attention_bias", "mlp_bias"):
        if values.get(name):
            raise UnsupportedModel(f"{name} is set; only models without biases are supported")
    if values.get("quantization_config"):
        raise UnsupportedModel(
            "quantization_config is set; use the checkpoint in bfloat16, float16 or float32"
        )
    for name in ("rope_scaling", "rope_parameters"):
        rope = values.get(name)
        if rope is None:
            continue
        if not isinstance(rope, dict):
            raise UnsupportedModel(f"{name} is {rope!r}; it must be an object or null")
        kind = rope.get("rope_type", rope.get("type", "default"))
        if kind != "default":
            raise UnsupportedModel(
                f"{name} has the rope type {kind!r}, which is not supported; only 'default' is"
            )
    for source in (values, values.get("rope_parameters") or {}):
        if source.get("partial_rotary_factor") not in (None, 1):
            raise UnsupportedModel(
                f"partial_rotary_factor {source['partial_rotary_factor']!r} is not supported; "
                "only whole heads are rotated"
            )


def _hugging_face_theta(values: Mapping[str, Any]) -> float:
    newer = values.get("rope_parameters") or {}
    source = newer if newer.get("rope_theta") is not None else values
    return _real(source, "rope_theta", 10_000.0)

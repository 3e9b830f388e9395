"""The shape of a model: what the arithmetic needs to know, layer by layer, and nothing else.

Families of models differ in these values only (`families/`); numpy and the kernels know no family.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from pi_cluster.transformer.config_faults import find_fault
from pi_cluster.transformer.errors import UnsupportedModel

MAX_WEIGHTS = 150_000_000_000
_MAX_ROPE_TABLES = 8


@dataclass(frozen=True, slots=True)
class RopeTable:
    """How far each pair of a head is turned.

    Pair ``i`` at position ``p`` turns by ``p * theta ** (-2 i / rotary_dim) / factors[i]``, where
    all factors are 1 if there are none. The first ``rotary_dim`` entries of a head are turned.
    """

    theta: float
    rotary_dim: int
    factors: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        _refuse_fault(asdict(self))
        if self.factors is not None and len(self.factors) != self.rotary_dim // 2:
            raise UnsupportedModel(
                f"{len(self.factors)} rope factors for {self.rotary_dim // 2} pairs of a head"
            )


@dataclass(frozen=True, slots=True)
class LayerConfig:
    """One layer: attention with grouped queries, then a SwiGLU feed-forward block.

    ``window`` counts the positions a query sees, itself included; None means all of them.
    ``rope_table`` is an index into the model's, or None where nothing is turned. ``query_scale``
    multiplies the scores; None means ``head_dim ** -0.5``. ``qk_norm``: an RMSNorm over each head
    of queries and keys, before they are turned.
    """

    n_heads: int
    n_kv_heads: int
    head_dim: int
    hidden_dim: int
    window: int | None = None
    rope_table: int | None = 0
    query_scale: float | None = None
    qkv_bias: bool = False
    o_bias: bool = False
    qk_norm: bool = False

    def __post_init__(self) -> None:
        _refuse_fault(asdict(self))

    @property
    def query_dim(self) -> int:
        """Outputs of wq."""
        return self.n_heads * self.head_dim

    @property
    def key_dim(self) -> int:
        """Outputs of wk and of wv."""
        return self.n_kv_heads * self.head_dim


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """One dense decoder, its layers from the first to the last.

    ``max_positions`` is the longest text the model was made for. Raises ``UnsupportedModel``,
    naming the field and the value, if the fields do not describe a model that can be computed here.
    """

    dim: int
    vocab_size: int
    norm_eps: float
    max_positions: int
    rope_tables: tuple[RopeTable, ...]
    layers: tuple[LayerConfig, ...]

    def __post_init__(self) -> None:
        names = ("dim", "vocab_size", "norm_eps", "max_positions")
        _refuse_fault({name: getattr(self, name) for name in names} | {"n_layers": self.n_layers})
        if len(self.rope_tables) > _MAX_ROPE_TABLES:
            raise UnsupportedModel(f"{len(self.rope_tables)} rope tables; {_MAX_ROPE_TABLES} fit")
        for layer in set(self.layers):
            self._check_rope(layer)
        if self.n_weights > MAX_WEIGHTS:
            raise UnsupportedModel(
                f"these sizes make a model of {self.n_weights / 1e9:.0f} billion weights; "
                f"at most {MAX_WEIGHTS / 1e9:.0f} billion are supported"
            )

    @classmethod
    def uniform(
        cls,
        *,
        dim: int,
        n_layers: int,
        vocab_size: int,
        norm_eps: float,
        rope_theta: float,
        max_positions: int,
        **of_layer: Any,
    ) -> Self:
        """A model of equal layers, turned as a whole; ``of_layer`` are ``LayerConfig``'s fields."""
        _refuse_fault({"n_layers": n_layers, "rope_theta": rope_theta})
        layer = LayerConfig(**of_layer)
        table = RopeTable(rope_theta, layer.head_dim)
        return cls(dim, vocab_size, norm_eps, max_positions, (table,), (layer,) * n_layers)

    @property
    def n_layers(self) -> int:
        """Number of layers."""
        return len(self.layers)

    @property
    def widest_window(self) -> int | None:
        """Positions that the farthest-seeing layer sees; None if one sees them all."""
        windows = [layer.window for layer in self.layers]
        return None if None in windows else max(filter(None, windows))

    @property
    def n_weights(self) -> int:
        """Number of weights, with embedding and head counted separately."""
        of_layers = sum(self._layer_weights(layer) for layer in self.layers)
        return of_layers + 2 * self.vocab_size * self.dim + self.dim

    def _layer_weights(self, layer: LayerConfig) -> int:
        attention = 2 * self.dim * (layer.query_dim + layer.key_dim)
        biases = layer.qkv_bias * (layer.query_dim + 2 * layer.key_dim) + layer.o_bias * self.dim
        gains = 2 * self.dim + layer.qk_norm * 2 * layer.head_dim
        return attention + 3 * self.dim * layer.hidden_dim + biases + gains

    def _check_rope(self, layer: LayerConfig) -> None:
        if layer.rope_table is None:
            return
        if not 0 <= layer.rope_table < len(self.rope_tables):
            raise UnsupportedModel(
                f"rope_table is {layer.rope_table}; the model has {len(self.rope_tables)}"
            )
        rotary_dim = self.rope_tables[layer.rope_table].rotary_dim
        if rotary_dim > layer.head_dim:
            raise UnsupportedModel(
                f"rotary_dim is {rotary_dim}; it must be at most head_dim, {layer.head_dim}"
            )


def _refuse_fault(values: Mapping[str, Any]) -> None:
    if fault := find_fault(values):
        raise UnsupportedModel(fault)

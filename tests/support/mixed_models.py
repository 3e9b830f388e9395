"""Models whose layers differ in all that they may differ in, and what float64 makes of them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pi_cluster.kernels import unpack
from pi_cluster.transformer.config import LayerConfig, ModelConfig, RopeTable
from pi_cluster.transformer.formats import tensor_format
from pi_cluster.transformer.shapes import embedding_shapes, head_shapes, layer_shapes
from tests.parity.plain_forward import attention, rms_norm
from tests.support.kernel_engines import EVERY_VARIANT, engine

Float64 = NDArray[np.float64]

EVERYTHING = ModelConfig(
    dim=64,
    vocab_size=130,
    norm_eps=1e-5,
    max_positions=1_000,
    rope_tables=(
        RopeTable(10_000.0, 16),
        RopeTable(500_000.0, 12, (1.0, 1.0, 2.5, 8.0, 8.0, 8.0)),
    ),
    layers=(
        LayerConfig(4, 2, 16, 96, window=32, qkv_bias=True),
        LayerConfig(3, 3, 24, 64, rope_table=1, o_bias=True, query_scale=0.3),
        LayerConfig(8, 1, 16, 100, window=70, rope_table=None, qk_norm=True),
        LayerConfig(4, 2, 32, 96, rope_table=0, qkv_bias=True, o_bias=True, qk_norm=True),
        LayerConfig(2, 1, 12, 32, window=1, rope_table=1),
    ),
)
"""Every operation a layer may have, and every one that it may lack."""


def random_model(seed: int, windows: tuple[int | None, ...] = (None, 20, 33, 70)) -> ModelConfig:
    """Sizes, operations and rope tables drawn at random."""
    numbers = np.random.default_rng(seed)

    def one_of(choices: Any) -> Any:
        return choices[numbers.integers(len(choices))]

    def layer() -> LayerConfig:
        n_kv_heads = one_of((1, 2, 3))
        return LayerConfig(
            n_heads=n_kv_heads * one_of((1, 2, 5)),
            n_kv_heads=n_kv_heads,
            head_dim=one_of((8, 16, 24, 40)),
            hidden_dim=one_of((32, 64, 100)),
            window=one_of(windows),
            rope_table=one_of((None, 0, 1)),
            query_scale=one_of((None, float(numbers.uniform(0.1, 0.5)))),
            qkv_bias=one_of((False, True)),
            o_bias=one_of((False, True)),
            qk_norm=one_of((False, True)),
        )

    stretched = tuple(float(factor) for factor in numbers.uniform(1, 8, 3))
    return ModelConfig(
        dim=one_of((32, 64, 100)),
        vocab_size=130,
        norm_eps=1e-5,
        max_positions=1_000,
        rope_tables=(RopeTable(1e4, 8), RopeTable(1e6, 6, one_of((None, stretched)))),
        layers=tuple(layer() for _ in range(numbers.integers(2, 5))),
    )


def mixed_weights(config: ModelConfig, seed: int) -> dict[str, NDArray[np.float32]]:
    """Random weights by Mistral's names, with biases and gains that cannot be overlooked."""
    shapes = embedding_shapes(config) | head_shapes(config)
    for index, layer in enumerate(config.layers):
        of_layer = layer_shapes(layer, config.dim)
        shapes |= {f"layers.{index}.{name}": shape for name, shape in of_layer.items()}
    numbers, weights = np.random.default_rng(seed), {}
    for name, shape in shapes.items():
        drawn = numbers.standard_normal(shape, np.float32)
        if name.endswith("norm.weight"):
            weights[name] = 1 + drawn / 4
        elif len(shape) == 1:
            weights[name] = drawn / 2
        else:
            weights[name] = drawn / np.float32(shape[1] ** 0.5)
    return weights


def packed(weights: dict[str, NDArray[np.float32]], form: str) -> dict[str, Any]:
    """The matrices in a format, wherever their columns fit."""
    return {
        name: engine(EVERY_VARIANT[0]).pack(w, tensor_format(w.shape, form)) if w.ndim == 2 else w
        for name, w in weights.items()
    }


def unpacked(tensors: dict[str, Any]) -> dict[str, NDArray[np.float32]]:
    """What the formats keep of the weights."""
    return {n: w if isinstance(w, np.ndarray) else unpack(w) for n, w in tensors.items()}


def plain_logits(
    config: ModelConfig,
    weights: dict[str, Any],
    ids: NDArray[np.int64],
    inputs: dict[str, Float64] | None = None,
) -> Float64:
    """All positions at once in float64, sharing nothing with what is tested but the description.

    ``inputs`` is given what each matrix multiplies, by its name. Shapes: ``(rows, columns)``.
    """
    inputs = {} if inputs is None else inputs
    tensors = {name: w.astype(np.float64) for name, w in weights.items()}
    x = tensors["tok_embeddings.weight"][ids]
    for index, layer in enumerate(config.layers):
        prefix = f"layers.{index}."
        own = {n.removeprefix(prefix): w for n, w in tensors.items() if n.startswith(prefix)}
        of_layer: dict[str, Float64] = {}
        x = _plain_layer(config, layer, own, x, of_layer)
        inputs |= {prefix + name: rows for name, rows in of_layer.items()}
    normed = inputs["output.weight"] = rms_norm(x, tensors["norm.weight"], config.norm_eps)
    return normed @ tensors["output.weight"].T


def _plain_layer(
    config: ModelConfig,
    layer: LayerConfig,
    w: dict[str, Float64],
    x: Float64,
    inputs: dict[str, Float64],
) -> Float64:
    def project(rows: Float64, name: str) -> Float64:
        inputs[f"{name}.weight"] = rows
        return rows @ w[f"{name}.weight"].T + w.get(f"{name}.bias", 0.0)

    def heads(name: str, norm: str | None = None) -> Float64:
        found = project(normed, f"attention.{name}").reshape(len(x), -1, layer.head_dim)
        if norm is None:
            return found
        if layer.qk_norm:
            found = rms_norm(found, w[f"attention.{norm}.weight"], config.norm_eps)
        return found if table is None else _turned(found, table)

    table = None if layer.rope_table is None else config.rope_tables[layer.rope_table]
    normed = rms_norm(x, w["attention_norm.weight"], config.norm_eps)
    queries, keys, values = heads("wq", "q_norm"), heads("wk", "k_norm"), heads("wv")
    if layer.query_scale is not None:
        queries *= layer.query_scale * np.sqrt(layer.head_dim)  # `attention` divides by the root
    x = x + project(attention(queries, keys, values, layer.window), "attention.wo")
    normed = rms_norm(x, w["ffn_norm.weight"], config.norm_eps)
    gate = project(normed, "feed_forward.w1")
    gated = gate / (1 + np.exp(-gate)) * project(normed, "feed_forward.w3")
    return x + project(gated, "feed_forward.w2")


def _turned(heads: Float64, table: RopeTable) -> Float64:
    """As products of complex numbers: the pairs of the first entries, one after another."""
    frequencies = table.theta ** (-np.arange(0, table.rotary_dim, 2) / table.rotary_dim)
    frequencies /= np.array(table.factors or 1.0)
    turns = np.exp(1j * np.outer(np.arange(len(heads)), frequencies))[:, None, :]
    pairs = np.ascontiguousarray(heads[..., : table.rotary_dim]).view(np.complex128)
    turned = np.ascontiguousarray(pairs * turns).view(np.float64)
    return np.concatenate((turned, heads[..., table.rotary_dim :]), axis=-1)

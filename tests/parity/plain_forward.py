"""Mistral and its relatives in float64, as plainly as numpy allows: the goldens' second opinion.

It shares no code with the product and none with transformers, so that a golden both agree on is
right about the arithmetic and not only about one library's reading of it. Everything is computed
for all positions at once; there is no cache to get wrong.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Shape:
    """What the weights of a model alone do not tell; biases and norms of heads are in the weights.

    ``windows`` has one for each layer, None where it sees all keys. ``unturned`` are the layers
    without rotary positions. ``slowdown`` divides the frequency of each pair.
    """

    n_layers: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    norm_eps: float
    rope_theta: float
    windows: tuple[int | None, ...]
    unturned: frozenset[int] = frozenset()
    slowdown: tuple[float, ...] | None = None


def rms_norm(x: Array, gain: Array, eps: float) -> Array:
    """``x (rows, dim)`` scaled to unit root-mean-square, then by ``gain``. arXiv:1910.07467."""
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps) * gain


def llama3_slowdown(theta: float, head_dim: int, scaling: Mapping[str, float]) -> tuple[float, ...]:
    """The factor of each pair, by the wavelengths of Llama 3.1's ``rope_scaling``."""
    frequencies = theta ** (-np.arange(0, head_dim, 2) / head_dim)
    wavelengths = 2 * np.pi / frequencies
    original, factor = scaling["original_max_position_embeddings"], scaling["factor"]
    longest, shortest = (
        original / scaling["low_freq_factor"],
        original / scaling["high_freq_factor"],
    )
    slowdown = []
    for wavelength, frequency in zip(wavelengths, frequencies, strict=True):
        if wavelength < shortest:
            slowdown.append(1.0)
        elif wavelength > longest:
            slowdown.append(factor)
        else:
            share = (original / wavelength - scaling["low_freq_factor"]) / (
                scaling["high_freq_factor"] - scaling["low_freq_factor"]
            )
            slowdown.append(frequency / ((1 - share) * frequency / factor + share * frequency))
    return tuple(float(one) for one in slowdown)


def rotate(x: Array, shape: Shape, interleaved: bool) -> Array:
    """Turn each pair of ``x (T, heads, head_dim)`` by its position's angle. arXiv:2104.09864.

    Pair ``i`` is rows ``2 i, 2 i + 1`` (interleaved, Mistral) or ``i, i + head_dim / 2``
    (half-split, Hugging Face).
    """
    head_dim = x.shape[-1]
    frequencies = shape.rope_theta ** (-np.arange(0, head_dim, 2) / head_dim)
    if shape.slowdown is not None:
        frequencies /= np.array(shape.slowdown)
    angles = np.outer(np.arange(len(x)), frequencies)
    cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
    half = head_dim // 2
    first, second = (
        (slice(0, None, 2), slice(1, None, 2)) if interleaved else (slice(half), slice(half, None))
    )
    turned = np.empty_like(x)
    turned[..., first] = x[..., first] * cos - x[..., second] * sin
    turned[..., second] = x[..., first] * sin + x[..., second] * cos
    return turned


def attention(q: Array, k: Array, v: Array, window: int | None) -> Array:
    """Causal attention; the query at ``i`` sees keys ``j`` with ``0 <= i - j < window``.

    Shapes: ``q (T, n_heads, head_dim)``, ``k`` and ``v (T, n_kv_heads, head_dim)``
    -> ``(T, n_heads * head_dim)``.
    """
    groups = q.shape[1] // k.shape[1]
    k, v = np.repeat(k, groups, axis=1), np.repeat(v, groups, axis=1)
    scores = np.einsum("ihd,jhd->hij", q, k) / np.sqrt(q.shape[2])
    distance = np.arange(len(q))[:, None] - np.arange(len(q))[None, :]
    visible = (distance >= 0) & (distance < (window or len(q)))
    scores = np.where(visible, scores, -np.inf)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    return np.einsum("hij,jhd->ihd", weights, v).reshape(len(q), -1)


def layer(
    x: Array, weights: Mapping[str, Array], shape: Shape, interleaved: bool, number: int
) -> Array:
    """One transformer layer, ``(T, dim) -> (T, dim)``; ``weights`` under Mistral's names."""

    def project(rows: Array, name: str) -> Array:
        return rows @ weights[f"{name}.weight"].T + weights.get(f"{name}.bias", 0.0)

    def heads(rows: Array) -> Array:
        return rows.reshape(len(x), -1, shape.head_dim)

    def turned(rows: Array, norm: str) -> Array:
        if norm in weights:
            rows = rms_norm(rows, weights[norm], shape.norm_eps)
        return rows if number in shape.unturned else rotate(rows, shape, interleaved)

    normed = rms_norm(x, weights["attention_norm.weight"], shape.norm_eps)
    q = turned(heads(project(normed, "attention.wq")), "attention.q_norm.weight")
    k = turned(heads(project(normed, "attention.wk")), "attention.k_norm.weight")
    v = heads(project(normed, "attention.wv"))
    x = x + project(attention(q, k, v, shape.windows[number]), "attention.wo")

    normed = rms_norm(x, weights["ffn_norm.weight"], shape.norm_eps)
    gate = project(normed, "feed_forward.w1")
    swish = gate / (1 + np.exp(-gate))
    return x + project(swish * project(normed, "feed_forward.w3"), "feed_forward.w2")


def forward(
    ids: npt.ArrayLike, weights: Mapping[str, Array], shape: Shape, interleaved: bool
) -> tuple[list[Array], Array]:
    """All hidden states and the logits ``(T, vocab)`` of ``ids``.

    Hidden state ``i`` is what enters layer ``i``; the last one is after the final norm, as
    transformers returns it.
    """
    x = weights["tok_embeddings.weight"][np.asarray(ids)]
    hidden = [x]
    for number in range(shape.n_layers):
        prefix = f"layers.{number}."
        own = {k.removeprefix(prefix): w for k, w in weights.items() if k.startswith(prefix)}
        x = layer(x, own, shape, interleaved, number)
        hidden.append(x)
    hidden[-1] = rms_norm(x, weights["norm.weight"], shape.norm_eps)
    output = weights.get("output.weight", weights["tok_embeddings.weight"])
    return hidden, hidden[-1] @ output.T

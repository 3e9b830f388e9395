from dataclasses import replace

import numpy as np
import pytest

from pi_cluster.kernels import Layers, LayerShape, LayerWeights, Part, ShapeError, unpack
from pi_cluster.transformer.config import ModelConfig
from pi_cluster.transformer.limits import Limits
from pi_cluster.transformer.numpy_arithmetic import StageWeights, numpy_stage
from pi_cluster.transformer.rope import rope_angles
from pi_cluster.transformer.stage import Chunk
from tests.support.kernel_engines import EVERY_VARIANT, assert_same_bits, engine, random

CONFIG = ModelConfig.uniform(
    dim=96,
    n_layers=4,
    n_heads=8,
    n_kv_heads=2,
    head_dim=16,
    hidden_dim=224,
    vocab_size=32,
    norm_eps=1e-5,
    rope_theta=10_000.0,
    window=70,
    max_positions=1000,
)
LAYERS = range(1, 3)
MAX_ROWS = 100
LAYER = CONFIG.layers[0]
SHAPE = LayerShape(
    dim=CONFIG.dim,
    hidden_dim=LAYER.hidden_dim,
    n_heads=LAYER.n_heads,
    n_kv_heads=LAYER.n_kv_heads,
    head_dim=LAYER.head_dim,
    norm_eps=CONFIG.norm_eps,
    window=LAYER.window,
    capacity=192,
)
GAINS = {"attention_norm": (96,), "ffn_norm": (96,)}
MATRICES = {
    "wq": (128, 96),
    "wk": (32, 96),
    "wv": (32, 96),
    "wo": (96, 128),
    "w1": (224, 96),
    "w2": (96, 224),
    "w3": (224, 96),
}


def weights_of(format, mixed=False):
    """Two layers. ``mixed`` keeps some matrices in other formats."""
    layers = []
    for layer in LAYERS:
        tensors = {name: 1 + random(layer, *shape) / 10 for name, shape in GAINS.items()}
        for number, (name, shape) in enumerate(MATRICES.items()):
            dense = random(100 * layer + number, *shape) / np.float32(shape[1] ** 0.5)
            kept = ("f16", "q8", "f32", "q4")[number % 4] if mixed else format
            tensors[name] = engine().pack(dense, kept)
        layers.append(LayerWeights(**tensors))
    return layers


def oracle_of(layers):
    def long_name(name):
        if "norm" in name:
            return f"{name}.weight"
        return f"{'feed_forward' if name[1].isdigit() else 'attention'}.{name}.weight"

    tensors = [
        {
            long_name(name): getattr(layer, name) if name in GAINS else unpack(getattr(layer, name))
            for name in (*GAINS, *MATRICES)
        }
        for layer in layers
    ]
    return numpy_stage(CONFIG, LAYERS, StageWeights(tensors), Limits(MAX_ROWS, 4, 1000, 4096))


class Runner:
    """Sequences at a pair of layers, extended a step at a time."""

    def __init__(self, layers, variant="portable", threads=1):
        self.layers = Layers(engine(variant, threads), SHAPE, layers, MAX_ROWS)
        self.caches = {}

    def step(self, chunks, hidden):
        for chunk in chunks:
            self.caches.setdefault(chunk.sequence, self.layers.new_cache())
        positions = np.concatenate([np.arange(c.start, c.start + c.rows) for c in chunks])
        angles = rope_angles(positions, LAYER.head_dim, CONFIG.rope_tables[0].theta)
        parts = [Part(self.caches[c.sequence], c.rows) for c in chunks]
        return self.layers.forward(hidden, *angles, parts)


STEPS = [
    [Chunk(0, 0, 60)],
    [Chunk(1, 0, 30), Chunk(0, 60, 1)],
    [Chunk(0, 61, 70), Chunk(2, 0, 5), Chunk(1, 30, 20)],
    [Chunk(2, 5, 1), Chunk(1, 50, 1), Chunk(0, 131, 1)],
    [Chunk(0, 132, 100)],
]


def inputs(steps):
    return [random(i, sum(c.rows for c in step), CONFIG.dim) for i, step in enumerate(steps)]


@pytest.mark.parametrize(
    ("format", "tolerance"), [("f32", 2e-3), ("f16", 2e-3), ("q8", 0.1), ("q4", 0.1)]
)
def test_a_stage_is_near_the_one_in_numpy(format, tolerance):
    """Keys and values are rounded to half precision and, in q8 and q4, activations to int8."""
    layers = weights_of(format)
    ours, oracle = Runner(layers), oracle_of(layers)
    for chunks, hidden in zip(STEPS, inputs(STEPS), strict=True):
        expected = oracle.forward(chunks, hidden)
        got = ours.step(chunks, hidden)
        assert np.abs(got - expected).max() < tolerance
        assert np.sqrt(np.mean((got - expected) ** 2)) < tolerance / 6


@pytest.mark.parametrize("format", ["f32", "f16", "q8", "q4", "mixed"])
@pytest.mark.parametrize("variant", EVERY_VARIANT)
def test_every_variant_and_thread_count_gives_the_same_bits(variant, format):
    layers = weights_of(format, mixed=format == "mixed")
    runners = [Runner(layers, variant, threads) for threads in (1, 2, 3, 4)]
    reference = Runner(layers)
    for chunks, hidden in zip(STEPS, inputs(STEPS), strict=True):
        wanted = reference.step(chunks, hidden)
        for runner in runners:
            assert_same_bits(runner.step(chunks, hidden), wanted)


@pytest.mark.parametrize("variant", EVERY_VARIANT)
def test_neither_chunks_nor_companions_change_a_sequence(variant):
    layers = weights_of("q4")
    hidden = random(50, 250, CONFIG.dim)
    others = random(51, 250, CONFIG.dim)
    alone = Runner(layers)
    expected = np.concatenate([alone.step([Chunk(0, i, 1)], hidden[i : i + 1]) for i in range(250)])
    together, start = Runner(layers, variant, 2), 0
    for rows in (90, 1, 64, 7, 88):
        here = slice(start, start + rows)
        other = together.caches[1].length if start else 0
        chunks = [Chunk(1, other, 3), Chunk(0, start, rows)]
        got = together.step(chunks, np.concatenate((others[:3], hidden[here])))
        assert_same_bits(got[3:], expected[here])
        start += rows


def test_a_bad_row_does_not_reach_its_companions():
    layers = weights_of("q4")
    clean, spoilt = Runner(layers), Runner(layers)
    hidden = random(60, 20, CONFIG.dim)
    chunks = [Chunk(0, 0, 10), Chunk(1, 0, 10)]
    expected = clean.step(chunks, hidden)
    hidden[3] = np.nan
    got = spoilt.step(chunks, hidden)
    assert np.isnan(got[3:10]).all()
    assert_same_bits(got[np.r_[0:3, 10:20]], expected[np.r_[0:3, 10:20]])


@pytest.mark.parametrize("name", ["wq", "wo", "w2", "w3"])
def test_a_weight_of_another_shape_is_refused_by_name(name):
    layers = weights_of("q4")
    wrong = engine().pack(random(0, 64, 64), "q4")
    with pytest.raises(ShapeError, match=f"{name} of layer 1 is 64 x 64"):
        Layers(engine(), SHAPE, [layers[0], replace(layers[1], **{name: wrong})], MAX_ROWS)


def test_a_step_that_does_not_fit_is_refused_and_changes_nothing():
    runner = Runner(weights_of("q4"))
    hidden = random(70, 10, CONFIG.dim)
    runner.step([Chunk(0, 0, 10)], hidden)
    cache, angles = runner.caches[0], np.zeros((10, 8), np.float32)
    for parts, why in (
        ([Part(cache, 9)], "parts"),
        ([Part(cache, 5), Part(cache, 5)], "only once"),
        ([Part(cache, 10), Part(runner.layers.new_cache(), 0)], "parts"),
        ([], "parts"),
    ):
        with pytest.raises(ShapeError, match=why):
            runner.layers.forward(hidden, angles, angles, parts)
    with pytest.raises(ShapeError, match="cosines"):
        runner.layers.forward(hidden, angles[:9], angles, [Part(cache, 10)])
    assert cache.length == 10

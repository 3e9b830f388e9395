from dataclasses import replace

import numpy as np
import pytest

from pi_cluster.kernels import Layers, LayerShape, Part, ShapeError, unpack
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
        layers.append(tensors)
    return layers


def oracle_of(layers):
    def long_name(name):
        if "norm" in name:
            return f"{name}.weight"
        return f"{'feed_forward' if name[1].isdigit() else 'attention'}.{name}.weight"

    tensors = [
        {
            long_name(name): layer[name] if name in GAINS else unpack(layer[name])
            for name in (*GAINS, *MATRICES)
        }
        for layer in layers
    ]
    return numpy_stage(CONFIG, LAYERS, StageWeights(tensors), Limits(MAX_ROWS, 4, 1000, 4096))


class Runner:
    """Sequences at a pair of layers, extended a step at a time."""

    def __init__(self, layers, variant="portable", threads=1):
        self.layers = Layers(engine(variant, threads), [SHAPE] * len(layers), layers, MAX_ROWS)
        self.caches = {}

    def step(self, chunks, hidden):
        for chunk in chunks:
            self.caches.setdefault(chunk.sequence, self.layers.new_cache())
        positions = np.concatenate([np.arange(c.start, c.start + c.rows) for c in chunks])
        angles = rope_angles(positions, LAYER.head_dim, CONFIG.rope_tables[0].theta)
        parts = [Part(self.caches[c.sequence], c.rows) for c in chunks]
        return self.layers.forward(hidden, {0: angles}, parts)


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
    ("format", "tolerance"), [("f32", 2e-3), ("f16", 2e-3), ("q8", 0.1), ("q4", 0.1), ("q4n", 0.1)]
)
def test_a_stage_is_near_the_one_in_numpy(format, tolerance):
    """Keys and values are rounded to half precision and, in q8, q4 and q4n, activations to int8."""
    layers = weights_of(format)
    ours, oracle = Runner(layers), oracle_of(layers)
    for chunks, hidden in zip(STEPS, inputs(STEPS), strict=True):
        expected = oracle.forward(chunks, hidden)
        got = ours.step(chunks, hidden)
        assert np.abs(got - expected).max() < tolerance
        assert np.sqrt(np.mean((got - expected) ** 2)) < tolerance / 6


@pytest.mark.parametrize("format", ["f32", "f16", "q8", "q4", "q4n", "mixed"])
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
        Layers(engine(), [SHAPE] * 2, [layers[0], layers[1] | {name: wrong}], MAX_ROWS)


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
            runner.layers.forward(hidden, {0: (angles, angles)}, parts)
    with pytest.raises(ShapeError, match="cosines"):
        runner.layers.forward(hidden, {0: (angles[:9], angles)}, [Part(cache, 10)])
    assert cache.length == 10


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"qkv_bias": True}, "layer 1 lacks bk"),
        ({"o_bias": True}, "layer 1 lacks bo"),
        ({"qk_norm": True}, "layer 1 lacks k_norm"),
        ({"hidden_dim": 192}, "w1 of layer 1 is 224 x 96, not 192 x 96"),
        ({"n_heads": 4}, "wq of layer 1 is 128 x 96, not 64 x 96"),
        ({"rotary_dim": 8}, "rope table 0 at different widths"),
        ({"norm_eps": 1e-6}, "differ in dim or norm_eps"),
    ],
)
def test_weights_that_are_not_those_of_their_layers_shape_are_refused_by_name(change, why):
    layers = weights_of("q4")
    with pytest.raises(ShapeError, match=why):
        Layers(engine(), [SHAPE, replace(SHAPE, **change)], layers, MAX_ROWS)


@pytest.mark.parametrize(
    ("name", "vector", "why"),
    [
        ("bo", np.ones(96, np.float32), "layer 0 does not have bo"),
        ("attention_norm", np.ones(95, np.float32), "attention_norm of layer 0 is float32"),
        ("ffn_norm", np.ones(96), "ffn_norm of layer 0 is float64"),
    ],
)
def test_a_vector_that_its_layer_does_not_have_or_of_another_size_is_refused(name, vector, why):
    layers = weights_of("q4")
    with pytest.raises(ShapeError, match=why):
        Layers(engine(), [SHAPE] * 2, [layers[0] | {name: vector}, layers[1]], MAX_ROWS)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"rope_table": -1}, "rope_table is -1"),
        ({"rotary_dim": 18}, "rotary_dim is 18"),
        ({"rotary_dim": 7}, "rotary_dim is 7"),
        ({"rotary_dim": 0}, "rotary_dim is 0"),
        ({"query_scale": 0.0}, "query_scale is 0.0"),
        ({"query_scale": float("nan")}, "query_scale is nan"),
    ],
)
def test_a_description_that_cannot_be_computed_is_refused_by_name(change, why):
    with pytest.raises(ShapeError, match=why):
        replace(SHAPE, **change)


def test_a_step_brings_the_angles_of_every_table_that_a_layer_names():
    shapes = [SHAPE, replace(SHAPE, rope_table=1, rotary_dim=12)]
    layers = Layers(engine(), shapes, weights_of("q4"), MAX_ROWS)
    cache, hidden = layers.new_cache(), random(71, 10, 96)
    tables = {pairs: (np.ones((10, pairs), np.float32),) * 2 for pairs in (6, 8)}
    for angles, why in (
        ({0: tables[8]}, "without the angles of rope table 1"),
        ({0: tables[8], 1: tables[8]}, r"angles is float32 \(10, 8\), not float32 \(rows, 6\)"),
    ):
        with pytest.raises(ShapeError, match=why):
            layers.forward(hidden, angles, [Part(cache, 10)])
    layers.forward(hidden, {0: tables[8], 1: tables[6]}, [Part(cache, 10)])
    assert cache.length == 10


@pytest.mark.parametrize("format", ["f32", "f16", "q8", "q4", "q4n"])
@pytest.mark.parametrize("variant", EVERY_VARIANT)
def test_layers_with_every_operation_give_the_same_bits_everywhere(variant, format):
    """Numbers and meaning: tests/unit/transformer/test_mixed_layers.py."""
    narrow = {"n_heads": 3, "n_kv_heads": 1, "head_dim": 10, "hidden_dim": 100}
    shapes = [
        replace(SHAPE, qkv_bias=True, o_bias=True, qk_norm=True, query_scale=0.3, rotary_dim=12),
        replace(SHAPE, **narrow, window=None, capacity=256, rope_table=None, o_bias=True),
        replace(SHAPE, window=5, capacity=128, rope_table=2, qk_norm=True),
    ]
    weights = []
    for layer, shape in enumerate(shapes):
        dense = {name: random(layer, *sides) / 10 for name, sides in shape.weights().items()}
        weights.append(
            {
                name: w if w.ndim == 1 else engine().pack(w, "f16" if w.shape[1] % 32 else format)
                for name, w in dense.items()
            }
        )
    hidden, angles = random(72, 150, 96), {0: random(73, 2, 150, 6), 2: random(74, 2, 150, 8)}
    found = []
    for engine_of, most in ((engine(), 1), (engine(variant, 3), 64)):
        layers, rows = Layers(engine_of, shapes, weights, MAX_ROWS), []
        cache = layers.new_cache()
        for start in range(0, 150, most):
            part = slice(start, min(start + most, 150))
            turned = {table: (cos[part], sin[part]) for table, (cos, sin) in angles.items()}
            step = [Part(cache, part.stop - part.start)]
            rows.append(layers.forward(hidden[part], turned, step))
        found.append(np.concatenate(rows))
    assert np.isfinite(found[0]).all()
    assert_same_bits(found[1], found[0])

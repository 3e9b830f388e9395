"""Models whose layers differ: numpy as float64, the kernels as numpy, and the same bits always."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import accumulate, pairwise

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from pi_cluster.transformer.config import LayerConfig, RopeTable
from pi_cluster.transformer.errors import StepError
from pi_cluster.transformer.kernel_arithmetic import (
    KernelArithmetic,
    StageTensors,
    most_cache_bytes,
)
from pi_cluster.transformer.limits import Limits
from pi_cluster.transformer.numpy_arithmetic import StageWeights, numpy_stage
from pi_cluster.transformer.stage import Chunk, Stage
from tests.support.kernel_engines import EVERY_VARIANT, assert_same_bits, engine
from tests.support.mixed_models import (
    EVERYTHING,
    mixed_weights,
    packed,
    plain_logits,
    random_model,
    unpacked,
)
from tests.support.packed_weights import parts_of
from tests.support.stages import run_prompt, run_step

LIMITS = Limits(max_step_rows=64, max_sequences=3, context=256, cache_positions=768)
PROMPT = np.random.default_rng(80).integers(0, 130, 230)  # far past every window
MODELS = {f"random {seed}": random_model(seed) for seed in range(10)} | {
    f"windows only {seed}": random_model(seed, (1, 20, 33, 70)) for seed in range(20, 24)
}
TOLERANCES = {"f32": 2e-3, "f16": 2e-3, "q8": 4e-2, "q4": 4e-2, "q4n": 4e-2}


@pytest.fixture(autouse=True, scope="module")
def _one_blas_thread() -> Iterator[None]:
    with threadpool_limits(1):
        yield


def numpy_stages(config, weights, sizes=None):
    return [
        numpy_stage(config, range(*cut), StageWeights(**parts_of(config, weights, *cut)), LIMITS)
        for cut in cuts(config, sizes)
    ]


def kernel_stages(config, tensors, sizes=None, variant=EVERY_VARIANT[0], threads=1):
    return [
        Stage(
            config,
            range(*cut),
            KernelArithmetic(
                *(config, range(*cut), StageTensors(**parts_of(config, tensors, *cut))),
                *(LIMITS, engine(variant, threads)),
            ),
            LIMITS,
        )
        for cut in cuts(config, sizes)
    ]


def cuts(config, sizes):
    return pairwise([0, *accumulate(sizes or (config.n_layers,))])


def relative_error(got, wanted):
    return np.sqrt(np.mean((got - wanted) ** 2) / np.mean(wanted**2))


@pytest.mark.parametrize("name", MODELS)
def test_numpy_computes_what_a_plain_pass_in_float64_does(name):
    config, weights = MODELS[name], mixed_weights(MODELS[name], 81)
    _, logits = run_prompt(numpy_stages(config, weights), PROMPT, 64)
    np.testing.assert_allclose(logits, plain_logits(config, weights, PROMPT), rtol=0, atol=3e-4)


@pytest.mark.parametrize("form", TOLERANCES)
def test_the_kernels_are_near_the_plain_pass_with_every_operation(form):
    tensors = packed(mixed_weights(EVERYTHING, 82), form)
    _, logits = run_prompt(kernel_stages(EVERYTHING, tensors), PROMPT, 64)
    wanted = plain_logits(EVERYTHING, unpacked(tensors), PROMPT)
    assert relative_error(logits, wanted) < TOLERANCES[form]


@pytest.mark.parametrize("name", MODELS)
def test_the_kernels_are_near_numpy_and_no_cut_variant_thread_or_chunk_changes_a_bit(name):
    config = MODELS[name]
    weights = mixed_weights(config, 83)
    wanted = run_prompt(numpy_stages(config, weights), PROMPT, 64)
    tensors = packed(weights, "f32")
    found = run_prompt(kernel_stages(config, tensors, variant="portable"), PROMPT, 1)
    for got, near in zip(found, wanted, strict=True):
        assert relative_error(got, near) < TOLERANCES["f32"]
    for threads, variant in enumerate(EVERY_VARIANT, 1):
        stages = kernel_stages(config, tensors, (1, config.n_layers - 1), variant, threads)
        assert_same_bits(run_prompt(stages, PROMPT, 7 * threads)[1], found[1])


@pytest.mark.parametrize("form", TOLERANCES)
@pytest.mark.parametrize("variant", EVERY_VARIANT)
def test_every_operation_gives_the_same_bits_everywhere_in_every_format(variant, form):
    tensors = packed(mixed_weights(EVERYTHING, 84), form)
    expected = run_prompt(kernel_stages(EVERYTHING, tensors, variant="portable"), PROMPT, 1)
    for threads, sizes, chunk in ((1, (5,), 64), (2, (2, 3), 50), (3, (1, 1, 1, 1, 1), 13)):
        stages = kernel_stages(EVERYTHING, tensors, sizes, variant, threads)
        found = run_prompt(stages, PROMPT, chunk)
        assert_same_bits(found[0], expected[0])
        assert_same_bits(found[1], expected[1])


def test_numpy_gives_the_same_bits_however_layers_and_chunks_are_cut():
    weights = mixed_weights(EVERYTHING, 85)
    expected = run_prompt(numpy_stages(EVERYTHING, weights), PROMPT, 1)
    for sizes, chunk in (((2, 3), 64), ((1, 1, 1, 1, 1), 13)):
        found = run_prompt(numpy_stages(EVERYTHING, weights, sizes), PROMPT, chunk)
        assert np.array_equal(found[1], expected[1])


def test_companions_in_a_step_change_no_bit():
    tensors = packed(mixed_weights(EVERYTHING, 86), "q4")
    _, alone = run_prompt(kernel_stages(EVERYTHING, tensors), PROMPT, 1)
    stages, other = kernel_stages(EVERYTHING, tensors, (3, 2), threads=2), PROMPT[::-1]
    for start in range(0, 230, 23):
        chunks = [Chunk(2, start, 23), Chunk(1, start, 23)]
        part = slice(start, start + 23)
        _, logits = run_step(stages, chunks, np.concatenate((other[part], PROMPT[part])))
        assert_same_bits(logits[23:], alone[part])


def with_layer(index, **changes):
    layers = list(EVERYTHING.layers)
    layers[index] = replace(layers[index], **changes)
    return replace(EVERYTHING, layers=tuple(layers))


def with_table(index, **changes):
    tables = list(EVERYTHING.rope_tables)
    tables[index] = replace(tables[index], **changes)
    return replace(EVERYTHING, rope_tables=tuple(tables))


WRONG_MODELS = {
    "window one shorter": with_layer(0, window=31),
    "window one longer": with_layer(2, window=71),
    "a window where there is none": with_layer(1, window=32),
    "turned where it is not": with_layer(2, rope_table=0),
    "not turned where it is": with_layer(3, rope_table=None),
    "another table": with_layer(0, rope_table=1),
    "usual scale": with_layer(1, query_scale=None),
    "scale of its own": with_layer(0, query_scale=0.3),
    "fewer entries turned": with_table(0, rotary_dim=14),
    "factors left out": with_table(1, factors=None),
    "factors in another order": with_table(1, factors=(1.0, 2.5, 1.0, 8.0, 8.0, 8.0)),
    "theta": with_table(0, theta=500_000.0),
    "eps": replace(EVERYTHING, norm_eps=0.05),
}


@pytest.mark.parametrize("fault", WRONG_MODELS)
def test_a_wrong_description_is_seen_in_the_logits(fault):
    tensors = packed(mixed_weights(EVERYTHING, 82), "f32")
    wanted = plain_logits(EVERYTHING, unpacked(tensors), PROMPT)
    _, logits = run_prompt(kernel_stages(WRONG_MODELS[fault], tensors), PROMPT, 64)
    assert relative_error(logits, wanted) > 2 * TOLERANCES["f32"]


VECTORS = [
    *(f"layers.0.attention.{name}.bias" for name in ("wq", "wv")),
    *(f"layers.3.attention.{name}.bias" for name in ("wq", "wv", "wo")),
    "layers.1.attention.wo.bias",
    *(f"layers.{layer}.attention.{name}_norm.weight" for layer in (2, 3) for name in "qk"),
]


@pytest.mark.parametrize("name", VECTORS)
def test_a_bias_or_gain_that_is_left_out_is_seen_in_the_logits(name):
    weights = mixed_weights(EVERYTHING, 82)
    wanted = plain_logits(EVERYTHING, weights, PROMPT)
    left_out = np.ones_like if name.endswith("norm.weight") else np.zeros_like
    tensors = packed(weights | {name: left_out(weights[name])}, "f32")
    _, logits = run_prompt(kernel_stages(EVERYTHING, tensors), PROMPT, 64)
    assert relative_error(logits, wanted) > 2 * TOLERANCES["f32"]


def test_a_bias_of_keys_counts_where_they_are_turned():
    """Unturned, it adds the same to every score of a query, which a softmax does not see."""
    weights = mixed_weights(EVERYTHING, 87)
    name = "layers.0.attention.wk.bias"
    changed = weights | {name: np.zeros_like(weights[name])}
    logits = [
        run_prompt(kernel_stages(EVERYTHING, packed(w, "f32")), PROMPT, 64)[1]
        for w in (weights, changed)
    ]
    assert relative_error(logits[1], plain_logits(EVERYTHING, changed, PROMPT)) < 2e-3
    assert relative_error(*logits) > 4e-3


def test_a_bias_is_added_to_the_finished_product_before_the_hidden_states():
    """2**-26 + (-1 + (1 + 2**-23)): in any other order 2**-26 would be rounded away."""
    layer = LayerConfig(1, 1, 2, 32, rope_table=None, qkv_bias=True, o_bias=True)
    config = replace(EVERYTHING, dim=2, rope_tables=(RopeTable(1e4, 2),), layers=(layer,))
    weights = {n: np.zeros_like(w) for n, w in mixed_weights(config, 0).items()}
    weights["layers.0.attention.wv.bias"][:] = 1
    weights["layers.0.attention.wo.weight"][0, 0] = -1
    weights["layers.0.attention.wo.bias"][0] = 1 + 2**-23
    hidden = np.float32([[2**-26, 0]])
    for stages in (
        numpy_stages(config, weights),
        *(kernel_stages(config, packed(weights, "f32"), variant=v) for v in EVERY_VARIANT),
    ):
        got = stages[0].forward([Chunk(1, 0, 1)], hidden)
        assert got[0, 0] == np.float32(2**-26 + 2**-23)


def test_a_text_ends_with_the_context_if_one_layer_of_the_model_sees_everything():
    """Even in a stage all of whose layers have a window, so that every stage refuses alike."""
    weights = packed(mixed_weights(EVERYTHING, 88), "q4")
    for stage in kernel_stages(EVERYTHING, weights, (1, 1, 1, 1, 1)):
        for start in range(0, 256, 64):
            stage.forward([Chunk(1, start, 64)], np.ones((64, 64), np.float32))
        with pytest.raises(StepError, match="would reach 257 positions; the context is 256"):
            stage.forward([Chunk(1, 256, 1)], np.ones((1, 64), np.float32))


def test_a_stages_caches_hold_no_more_than_was_counted_and_layers_with_a_window_less():
    (stage,) = kernel_stages(EVERYTHING, packed(mixed_weights(EVERYTHING, 89), "q4"))
    for sequence in (1, 2, 3):
        for start in range(0, 256, 64):
            stage.forward([Chunk(sequence, start, 64)], np.ones((64, 64), np.float32))
    counted = most_cache_bytes(EVERYTHING, LIMITS)
    assert stage.cache_bytes == sum(counted)
    slots = [n // cost for n, cost in zip(counted, SLOT_BYTES, strict=True)]
    # Three texts: windows of 32, 70 and 1 with steps of 64 rows, or the context of 256.
    assert slots == [3 * 128, 3 * 256, 3 * 192, 3 * 256, 3 * 128]


SLOT_BYTES = [
    # Keys, and values in whole vectors of 16, in half precision.
    2 * layer.n_kv_heads * (layer.head_dim + -(-layer.head_dim // 16) * 16)
    for layer in EVERYTHING.layers
]

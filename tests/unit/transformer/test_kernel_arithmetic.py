"""Stages on the kernels: near the specification in numpy, and the same bits however they run."""

from itertools import accumulate, pairwise

import numpy as np
import pytest

from pi_cluster.kernels import PACKABLE_FORMATS
from pi_cluster.transformer.kernel_arithmetic import KernelArithmetic, StageTensors, kernel_shapes
from pi_cluster.transformer.limits import Limits
from pi_cluster.transformer.numpy_arithmetic import StageWeights, numpy_stage
from pi_cluster.transformer.stage import Chunk, Stage
from tests.support.checkpoints import small_config
from tests.support.kernel_engines import EVERY_VARIANT, assert_same_bits, engine
from tests.support.packed_weights import packed_weights, parts_of, unpacked
from tests.support.stages import run_prompt, run_step

LIMITS = Limits(max_step_rows=128, max_sequences=3, context=256, cache_positions=768)
WINDOWED = small_config(n_layers=5, window=32)
UNBOUNDED = small_config(n_layers=5, window=None)
ODD_COLUMNS = small_config(n_layers=5, hidden_dim=100)  # keeps w2 in f16
PROMPT = np.random.default_rng(30).integers(0, WINDOWED.vocab_size, 230)  # the cache has 192 slots
TOLERANCES = {"f32": 1e-3, "f16": 1e-3, "q8": 3e-2, "q4": 3e-2, "q4n": 3e-2}


def kernel_stages(config, packed, sizes=(5,), variant=EVERY_VARIANT[0], threads=1):
    stages = []
    for start, stop in pairwise([0, *accumulate(sizes)]):
        tensors = StageTensors(**parts_of(config, packed, start, stop))
        layers, kernels = range(start, stop), engine(variant, threads)
        arithmetic = KernelArithmetic(config, layers, tensors, LIMITS, kernels)
        stages.append(Stage(config, layers, arithmetic, LIMITS))
    return stages


def whole_oracle(config, packed):
    weights = StageWeights(**parts_of(config, unpacked(packed), 0, config.n_layers))
    return numpy_stage(config, range(config.n_layers), weights, LIMITS)


@pytest.mark.parametrize("config", [WINDOWED, UNBOUNDED, ODD_COLUMNS], ids=["window", "no", "odd"])
@pytest.mark.parametrize("weights", [*PACKABLE_FORMATS, ("q4", "f32"), ("f16", "q4")], ids=str)
def test_hidden_states_and_logits_are_near_those_of_numpy(config, weights):
    """Relative to the root mean square of what numpy computes on the same unpacked weights.

    Keys and values are rounded to half precision and, for q8, q4 and q4n, activations to int8.
    """
    packed = packed_weights(config, weights)
    found = run_prompt(kernel_stages(config, packed), PROMPT, 64)
    expected = run_prompt([whole_oracle(config, packed)], PROMPT, 64)
    used = weights if isinstance(weights, tuple) else (weights,)
    tolerance = max(TOLERANCES[name] for name in used)
    for got, wanted in zip(found, expected, strict=True):
        error = np.sqrt(np.mean((got - wanted) ** 2) / np.mean(wanted**2))
        assert error < tolerance


@pytest.fixture(scope="module", params=[WINDOWED, UNBOUNDED], ids=["window", "no window"])
def model(request):
    """A configuration, its weights in q4, and what one stage computes, row by row, portably."""
    packed = packed_weights(request.param, "q4")
    stages = kernel_stages(request.param, packed, variant="portable")
    return request.param, packed, run_prompt(stages, PROMPT, 1)


@pytest.mark.parametrize("chunk_size", [1, 7, 64])
@pytest.mark.parametrize("sizes", [(5,), (2, 3), (1, 3, 1), (1, 1, 1, 1, 1)], ids=str)
def test_neither_cuts_nor_chunks_change_a_bit(model, sizes, chunk_size):
    config, packed, expected = model
    found = run_prompt(kernel_stages(config, packed, sizes), PROMPT, chunk_size)
    assert_same_bits(found[0], expected[0])
    assert_same_bits(found[1], expected[1])


@pytest.mark.parametrize("threads", [1, 2, 3, 4])
@pytest.mark.parametrize("variant", EVERY_VARIANT)
def test_neither_variants_nor_threads_change_a_bit(model, variant, threads):
    config, packed, expected = model
    stages = kernel_stages(config, packed, (2, 3), variant, threads)
    found = run_prompt(stages, PROMPT, 64)
    assert_same_bits(found[0], expected[0])
    assert_same_bits(found[1], expected[1])


@pytest.mark.parametrize("weights", [*PACKABLE_FORMATS, ("q4", "f32")], ids=str)
def test_no_format_depends_on_variant_threads_cuts_or_chunks(weights):
    packed = packed_weights(ODD_COLUMNS, weights)
    slow = kernel_stages(ODD_COLUMNS, packed, variant="portable")
    fast = kernel_stages(ODD_COLUMNS, packed, (1, 4), EVERY_VARIANT[0], 2)
    expected, found = run_prompt(slow, PROMPT, 7), run_prompt(fast, PROMPT, 100)
    assert_same_bits(found[0], expected[0])
    assert_same_bits(found[1], expected[1])


def test_sequences_that_share_steps_get_the_bits_that_each_gets_alone(model):
    config, packed, _ = model
    texts = {4: PROMPT[:200], 7: PROMPT[::-1][:61], 5: PROMPT[50:60]}
    alone = {n: run_prompt(kernel_stages(config, packed), t, 50)[1] for n, t in texts.items()}
    stages = kernel_stages(config, packed, (2, 3), threads=2)
    together, done = {n: [] for n in texts}, dict.fromkeys(texts, 0)
    # A prompt beside single tokens, in any order, and steps of one sequence.
    steps = [{4: 97, 7: 1}, {7: 1, 5: 9, 4: 1}, {4: 1}, {7: 58, 4: 60}, {5: 1, 7: 1, 4: 41}]
    for rows in steps:
        chunks = [Chunk(n, done[n], count) for n, count in rows.items()]
        ids = np.concatenate([texts[c.sequence][c.start : c.start + c.rows] for c in chunks])
        _, logits = run_step(stages, chunks, ids)
        cuts = list(accumulate(rows.values()))[:-1]
        for chunk, part in zip(chunks, np.split(logits, cuts), strict=True):
            together[chunk.sequence].append(part)
            done[chunk.sequence] += chunk.rows
    assert done == {n: len(text) for n, text in texts.items()}
    for n in texts:
        assert_same_bits(np.concatenate(together[n]), alone[n])


def test_every_layer_and_both_ends_have_a_say():
    packed = packed_weights(WINDOWED, "q4")
    _, expected = run_prompt(kernel_stages(WINDOWED, packed), PROMPT[:20], 20)
    other = packed_weights(WINDOWED, "q4", seed=32)
    matrices = [f"layers.{layer}.feed_forward.w2.weight" for layer in range(5)]
    for name in (*matrices, "tok_embeddings.weight", "output.weight", "norm.weight"):
        stages = kernel_stages(WINDOWED, packed | {name: other[name]})
        _, logits = run_prompt(stages, PROMPT[:20], 20)
        assert np.abs(logits - expected).max() > 0.01, name


@pytest.mark.parametrize("config", [WINDOWED, UNBOUNDED], ids=["window", "no window"])
def test_a_stage_holds_what_the_formula_says_once_its_text_has_filled_the_cache(config):
    (stage,) = kernel_stages(config, packed_weights(config, "q4"))
    full = kernel_shapes(config, LIMITS)[0].cache_bytes_per_layer
    # Keys and values in half precision: 2 heads of 16 numbers, 192 or 256 slots.
    assert full == 2 * 2 * 2 * 16 * (192 if config.widest_window else 256)
    length = 256 if config.widest_window is None else 1000
    sizes = []
    for start in range(0, length, 128):
        rows = min(128, length - start)
        stage.forward([Chunk(1, start, rows)], np.ones((rows, config.dim), np.float32))
        sizes.append(stage.cache_bytes)
    assert sizes[0] < sizes[-1] == max(sizes) == 5 * full
    stage.end(1)
    assert stage.cache_bytes == 0

"""Stages: a model cut anywhere is the same model to the bit, within limits known beforehand."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from pi_cluster.transformer.cache import cache_capacity
from pi_cluster.transformer.config import ModelConfig
from pi_cluster.transformer.errors import StepError
from pi_cluster.transformer.limits import Limits
from pi_cluster.transformer.numpy_arithmetic import StageWeights, numpy_stage
from pi_cluster.transformer.stage import Chunk, Stage
from tests.support.checkpoints import Weights, random_weights, small_config
from tests.support.processor import blas_kernels_here
from tests.support.stages import run_prompt, run_step, tensors_of_layer

ROOT = Path(__file__).parents[3]
LIMITS = Limits(max_step_rows=128, max_sequences=3, context=256, cache_positions=640)
CONFIG = small_config(n_layers=5, window=32)
PROMPT = np.random.default_rng(20).integers(0, CONFIG.vocab_size, 110)  # over three windows


@pytest.fixture(autouse=True, scope="module")
def _one_blas_thread() -> Iterator[None]:
    with threadpool_limits(1):
        yield


def make_stage(
    config: ModelConfig, weights: Weights, start: int, stop: int, limits: Limits = LIMITS
) -> Stage:
    tensors = StageWeights(
        layers=[tensors_of_layer(weights, layer) for layer in range(start, stop)],
        embedding=weights if start == 0 else None,
        head=weights if stop == config.n_layers else None,
    )
    return numpy_stage(config, range(start, stop), tensors, limits)


def make_stages(
    config: ModelConfig, weights: Weights, sizes: Sequence[int], limits: Limits = LIMITS
) -> list[Stage]:
    cuts = [0, *accumulate(sizes)]
    return [make_stage(config, weights, start, stop, limits) for start, stop in pairwise(cuts)]


@pytest.fixture(scope="module")
def weights() -> Weights:
    return random_weights(CONFIG, seed=21)


@pytest.fixture(scope="module")
def whole(weights: Weights) -> tuple[np.ndarray, np.ndarray]:
    """What one stage computes of the prompt in one chunk."""
    return run_prompt([make_stage(CONFIG, weights, 0, CONFIG.n_layers)], PROMPT, len(PROMPT))


@pytest.mark.parametrize("chunk_size", [1, 7, 64])
@pytest.mark.parametrize("sizes", [(5,), (2, 3), (4, 1), (1, 3, 1), (1, 1, 1, 1, 1)])
def test_split_model_equals_whole_model_to_the_bit(weights, whole, sizes, chunk_size):
    hidden, logits = run_prompt(make_stages(CONFIG, weights, sizes), PROMPT, chunk_size)
    assert np.array_equal(hidden, whole[0])
    assert np.array_equal(logits, whole[1])


@pytest.mark.parametrize(
    "changes",
    [{"window": None}, {"head_dim": 24}, {"n_kv_heads": 4}, {"n_kv_heads": 1}, {"window": 1}],
    ids=str,
)
def test_other_shapes_of_model_split_to_the_bit_too(changes):
    config = small_config(**changes)
    weights = random_weights(config, seed=22)
    expected = run_prompt([make_stage(config, weights, 0, 3)], PROMPT, len(PROMPT))
    found = run_prompt(make_stages(config, weights, (2, 1)), PROMPT, 7)
    assert np.array_equal(found[0], expected[0])
    assert np.array_equal(found[1], expected[1])


def test_float16_weights_give_the_bits_of_the_same_numbers_in_float32(weights, whole):
    narrow = {n: w.astype(np.float16) if w.ndim > 1 else w for n, w in weights.items()}
    found = run_prompt(make_stages(CONFIG, narrow, (2, 3)), PROMPT, 64)
    assert np.array_equal(found[1], whole[1])


def test_layers_in_another_order_give_another_result(weights, whole):
    swapped = {
        name.replace("layers.1.", "layers.x.")
        .replace("layers.2.", "layers.1.")
        .replace("layers.x.", "layers.2."): tensor
        for name, tensor in weights.items()
    }
    _, logits = run_prompt([make_stage(CONFIG, swapped, 0, 5)], PROMPT, len(PROMPT))
    assert np.abs(logits - whole[1]).max() > 0.01


def test_the_window_hides_what_lies_before_it(weights):
    # One layer sees its window alone; after it, another first word changes nothing.
    stage = make_stage(CONFIG, weights, 0, 1)
    other = PROMPT.copy()
    other[0] = (other[0] + 1) % CONFIG.vocab_size
    hidden = [
        stage.forward([Chunk(number, 0, len(ids))], stage.embed(ids))
        for number, ids in enumerate((PROMPT, other))
    ]
    same = (hidden[0] == hidden[1]).all(axis=1)
    assert np.flatnonzero(~same).tolist() == list(range(CONFIG.widest_window))


def test_sequences_in_one_step_equal_each_alone_to_the_bit(weights):
    numbers = np.random.default_rng(23)
    texts = {
        n: numbers.integers(0, CONFIG.vocab_size, size) for n, size in ((4, 100), (7, 61), (5, 9))
    }
    alone = {
        n: run_prompt([make_stage(CONFIG, weights, 0, 5)], ids, 50)[1] for n, ids in texts.items()
    }
    stages = make_stages(CONFIG, weights, (2, 3))
    together: dict[int, list[np.ndarray]] = {n: [] for n in texts}
    done = dict.fromkeys(texts, 0)
    # Prefill of one beside decode of the other, in either order, and steps of one alone.
    for rows in (
        {4: 37, 7: 1},
        {7: 1, 5: 8, 4: 1},
        {4: 1},
        {7: 58, 4: 60},
        {5: 1, 7: 1, 4: 1},
    ):
        chunks = [Chunk(n, done[n], count) for n, count in rows.items()]
        ids = np.concatenate([texts[c.sequence][c.start : c.start + c.rows] for c in chunks])
        _, logits = run_step(stages, chunks, ids)
        first = 0
        for chunk in chunks:
            together[chunk.sequence].append(logits[first : first + chunk.rows])
            first += chunk.rows
            done[chunk.sequence] += chunk.rows
    assert done == {n: len(ids) for n, ids in texts.items()}
    for n in texts:
        assert np.array_equal(np.concatenate(together[n]), alone[n])


def zeros(rows: int) -> np.ndarray:
    return np.zeros((rows, CONFIG.dim), np.float32)


@pytest.fixture
def stage(weights: Weights) -> Stage:
    """A middle stage that already holds five positions of sequence 1."""
    stage = make_stage(CONFIG, weights, 1, 3)
    stage.forward([Chunk(1, 0, 5)], zeros(5))
    return stage


@pytest.mark.parametrize(
    ("chunks", "reason"),
    [
        ([Chunk(1, 6, 2)], "sequence 1 goes on at position 6, but 5 positions are held"),
        ([Chunk(2, 3, 1)], "sequence 2 goes on at position 3, but 0 positions are held"),
        ([Chunk(1, 5, 129)], "129 rows in one step; at most 128"),
        ([Chunk(1, 5, 64), Chunk(2, 0, 65)], "129 rows in one step; at most 128"),
        ([Chunk(n, 0, 1) for n in (2, 3, 4)], "more than 3 sequences at once"),
        ([Chunk(2, 0, 1), Chunk(2, 1, 1)], "a sequence may be in a step only once"),
        ([], "at least one row in every chunk"),
        ([Chunk(1, 5, 0)], "at least one row in every chunk"),
        ([Chunk(1, 5, 2), Chunk(2, 0, -1)], "at least one row in every chunk"),
    ],
)
def test_a_step_that_does_not_fit_is_refused_and_changes_nothing(stage, chunks, reason):
    held = stage.cache_bytes
    with pytest.raises(StepError) as refusal:
        stage.forward(chunks, zeros(sum(chunk.rows for chunk in chunks)))
    assert reason in str(refusal.value)
    assert (stage.sequences, stage.cache_bytes) == (1, held)
    stage.forward([Chunk(1, 5, 1)], zeros(1))


@pytest.mark.parametrize("shape", [(3, CONFIG.dim), (2, CONFIG.dim - 1), (2,)])
def test_hidden_states_of_another_shape_are_refused(stage, shape):
    with pytest.raises(StepError, match="a step of 2 rows came with hidden states"):
        stage.forward([Chunk(1, 5, 2)], np.zeros(shape, np.float32))


def test_a_text_longer_than_the_context_is_refused_without_a_window():
    config = small_config(window=None)
    stage = make_stage(
        config, random_weights(config), 0, 1, Limits(40, 1, context=50, cache_positions=64)
    )
    ids = PROMPT % config.vocab_size
    stage.forward([Chunk(1, 0, 40)], stage.embed(ids[:40]))
    with pytest.raises(StepError, match="would reach 51 positions; the context is 50"):
        stage.forward([Chunk(1, 40, 11)], stage.embed(ids[:11]))
    stage.forward([Chunk(1, 40, 10)], stage.embed(ids[:10]))


@pytest.mark.parametrize("token_id", [-1, CONFIG.vocab_size])
def test_an_id_outside_the_vocabulary_is_refused_by_name(weights, token_id):
    stage = make_stage(CONFIG, weights, 0, 1)
    with pytest.raises(StepError, match=rf"token id {token_id} is outside the vocabulary 0\.\.129"):
        stage.embed(np.array([0, 129, token_id]))


def test_ending_a_sequence_frees_its_bytes_and_lets_another_begin(stage):
    one = stage.cache_bytes
    assert one > 0
    stage.forward([Chunk(2, 0, 1), Chunk(3, 0, 1)], zeros(2))
    assert stage.cache_bytes == 3 * one
    stage.end(2)
    stage.end(2)
    assert (stage.sequences, stage.cache_bytes) == (2, 2 * one)
    stage.forward([Chunk(2, 0, 1)], zeros(1))
    stage.clear()
    assert (stage.sequences, stage.cache_bytes) == (0, 0)


def test_a_sequence_that_ended_begins_again_as_if_new(weights, whole):
    stages = make_stages(CONFIG, weights, (5,))
    run_prompt(stages, PROMPT[::-1], 64)
    stages[0].end(1)
    _, logits = run_prompt(stages, PROMPT, 64)
    assert np.array_equal(logits, whole[1])


def test_caches_stay_within_the_formula_however_long_the_text(weights):
    limits = Limits(max_step_rows=64, max_sequences=2, context=1, cache_positions=128)
    stage = make_stage(CONFIG, weights, 1, 3, limits)
    capacity = cache_capacity(CONFIG.widest_window, limits.context, limits.max_step_rows)
    # Two layers, keys and values, four bytes a number.
    most = 2 * 2 * 4 * capacity * CONFIG.layers[0].key_dim
    hidden = np.random.default_rng(24).standard_normal((64, CONFIG.dim)).astype(np.float32)
    sizes = []
    for start in range(0, 3_000, 60):
        stage.forward([Chunk(1, start, 60)], hidden[:60])
        sizes.append(stage.cache_bytes)
    assert sizes[-1] == max(sizes) == most


# Prints whether rows computed in a batch have the bits of the same rows computed alone.
BATCH_INVARIANCE = """
import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits
from tests.support.checkpoints import random_weights, small_config
from tests.support.stages import run_prompt
from tests.unit.transformer.test_stage import make_stages
from pi_cluster.transformer.arithmetic import linear

with threadpool_limits(1):
    blas = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    assert all(pool["num_threads"] == 1 for pool in blas), blas
    numbers = np.random.default_rng(25)
    for n_out, n_in in [(1, 5), (3, 64), (7, 129), (100, 4096), (130, 1000), (33, 31)]:
        x = numbers.standard_normal((37, n_in)).astype(np.float32)
        weight = numbers.standard_normal((n_out, n_in)).astype(np.float32)
        alone = np.concatenate([linear(row[None].copy(), weight) for row in x])
        for rows in (2, 3, 4, 8, 16, 37):
            for start in range(0, 37 - rows + 1, 5):
                batch = linear(x[start : start + rows], weight)
                assert np.array_equal(batch, alone[start : start + rows]), (n_out, n_in, rows)
    for changes in ({"window": 32}, {"window": None, "n_kv_heads": 4}, {"head_dim": 22}):
        config = small_config(**changes)
        weights = random_weights(config, seed=26)
        ids = numbers.integers(0, config.vocab_size, 100)
        results = [run_prompt(make_stages(config, weights, (3,)), ids, n) for n in (1, 7, 64, 100)]
        assert all(np.array_equal(logits, results[0][1]) for _, logits in results), changes
print("equal", *[pool.get("architecture") for pool in blas])
"""


@pytest.mark.parametrize("kernel", blas_kernels_here())
def test_bits_do_not_depend_on_the_batch_under_the_blas_kernels_here_of_other_processors(kernel):
    environment = os.environ | {"OPENBLAS_CORETYPE": kernel}
    run = subprocess.run(
        [sys.executable, "-c", BATCH_INVARIANCE],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("equal")

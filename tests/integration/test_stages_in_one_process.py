"""Pipelines of explicit layer ranges over real sockets: 32 stages, and steps of two sequences."""

import time
from dataclasses import replace

import numpy as np
import pytest

from pi_cluster import storyteller
from pi_cluster.cluster.errors import NodeError
from pi_cluster.cluster.store.store import Store
from pi_cluster.cluster.wire.client import NodeClient
from pi_cluster.coordinator.generation import GenerationOptions
from pi_cluster.coordinator.scheduling.cache_limits import CacheLimits
from pi_cluster.coordinator.scheduling.scheduler import Scheduler
from pi_cluster.coordinator.served_model import ServedModel
from pi_cluster.coordinator.session import Session
from pi_cluster.transformer.config_form import read_config
from pi_cluster.transformer.sampling_settings import SamplingSettings
from tests.support.raw_session import RawSession
from tests.support.stores import shard
from tests.support.worker_servers import EPOCH, LIMITS, PLAIN, load_stage, pipeline

LONG_PROMPT = [1, *((5 + i * 37) % 2000 + 5 for i in range(389))]
SAMPLINGS = [SamplingSettings(temperature=0), SamplingSettings(temperature=0.9, seed=11)]


@pytest.fixture(scope="module")
def story_store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("story") / "store"
    shard(storyteller.checkpoint_path(), folder, "f32")
    return Store(folder)


def generate(store, bounds, folder, prompt, sampling, chunk_size, max_tokens=8):
    vocab_size = store.manifest.config["vocab_size"]
    model = ServedModel(vocab_size, store.manifest.bos_id, frozenset(), None)
    options = GenerationOptions(sampling, max_tokens, chunk_size)
    limits = CacheLimits.of(read_config(store.manifest.config), LIMITS)
    with (
        pipeline(store, bounds, folder) as stages,
        Session(stages, EPOCH, vocab_size, PLAIN) as session,
        Scheduler(session, model, limits) as scheduler,
    ):
        return list(scheduler.submit(prompt, options))


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=["greedy", "seeded"])
def test_32_stages_of_one_layer_give_the_ids_of_one_stage(story_store, tmp_path, sampling):
    whole = generate(story_store, [0, 32], tmp_path, LONG_PROMPT, sampling, 64)
    chunk_size = 7 if sampling.temperature else 64
    split = generate(story_store, range(33), tmp_path, LONG_PROMPT, sampling, chunk_size)
    assert split == whole


@pytest.mark.parametrize("bounds", [range(7), [0, 1, 6], [0, 5, 6]], ids=str)
def test_layers_that_all_matter_may_be_cut_anywhere_and_sent_row_by_row(
    random_store, tmp_path, bounds
):
    prompt = [1, *(i * 7 % 130 for i in range(99))]
    for sampling in SAMPLINGS:
        whole = generate(random_store, [0, 6], tmp_path, prompt, sampling, 64)
        for chunk_size in (1, 7):
            assert generate(random_store, bounds, tmp_path, prompt, sampling, chunk_size) == whole


def test_sequences_that_share_steps_get_the_logits_they_get_alone(random_store, tmp_path):
    texts = {5: [1, *range(60)], 9: [1, *range(129, 60, -1)], 3: [1, 77]}
    with pipeline(random_store, [0, 2, 4, 6], tmp_path) as stages:
        alone = {}
        for sequence, ids in texts.items():
            with RawSession(stages) as line:
                alone |= line.step((sequence, 0, ids))
        with RawSession(stages) as line:
            together = line.step((5, 0, texts[5][:40]), (9, 0, texts[9][:3]))
            together |= line.step((9, 3, texts[9][3:50]), (3, 0, texts[3]), (5, 40, texts[5][40:]))
            line.end(5)
            together |= line.step((9, 50, texts[9][50:]))
    assert together.keys() == alone.keys()
    for place, logits in alone.items():
        np.testing.assert_array_equal(together[place], logits, err_msg=str(place))


def test_an_ended_sequence_frees_its_cache_on_every_stage_and_may_begin_again(
    random_store, tmp_path
):
    with pipeline(random_store, [0, 2, 4, 6], tmp_path) as stages, RawSession(stages) as line:
        first = line.step((1, 0, [1, 2, 3]))
        line.end(1)
        again = line.step((1, 0, [1, 2, 3]), (2, 0, [4]))
        np.testing.assert_array_equal(again[1, 2], first[1, 2])
        for stage in stages:
            with NodeClient(stage.peer, PLAIN) as client:
                assert client.describe().stage.sequences == 2


@pytest.mark.parametrize(
    ("chunks", "problem"),
    [
        ([(1, 4, [1])], "0 positions are held"),
        ([(1, 0, [130])], "outside the vocabulary"),
        ([(i, 0, [1]) for i in range(5)], "more than 4 sequences"),
        ([(1, 0, [1] * 513)], "at most 512"),
        ([(1, 0, [1]), (1, 1, [1])], "only once"),
        ([], "at least one row"),
    ],
)
def test_a_bad_step_ends_the_session_with_its_reason_and_frees_all(
    random_store, tmp_path, chunks, problem
):
    with pipeline(random_store, [0, 2, 4, 6], tmp_path) as stages:
        with RawSession(stages) as line:
            line.step((8, 0, [1, 2]))
            line.send(*chunks)
            with pytest.raises(NodeError, match=problem):
                line.failure()
        with RawSession(stages) as line:
            assert len(line.step((8, 0, [1]))) == 1


def test_a_prefix_that_is_held_serves_another_sequence_with_the_bits_of_the_whole_text(
    random_store, tmp_path
):
    texts = {1: [1, *range(100)], 2: [1, *range(60), *range(129, 90, -1)]}
    with pipeline(random_store, [0, 2, 4, 6], tmp_path) as stages:
        with RawSession(stages) as line:
            whole = line.step((2, 0, texts[2]))
        with RawSession(stages) as line:
            line.step((1, 0, texts[1]))
            found = line.fork(2, 61, texts[2][61:], prefix_of=1)
    assert sorted(found) == [(2, position) for position in range(61, 100)]
    for place, logits in found.items():
        np.testing.assert_array_equal(logits, whole[place], err_msg=str(place))


def test_every_stage_tells_when_by_its_own_clock_it_began(random_store, tmp_path):
    with pipeline(random_store, [0, 2, 4, 6], tmp_path) as stages, RawSession(stages) as line:
        before = time.perf_counter_ns()
        line.send((1, 0, [1, 2]))
        timings = line.receive().timings
        after = time.perf_counter_ns()
    # All stages are in this process, so that their clocks are one.
    begins = [timing.began_ns for timing in timings]
    ends = [timing.began_ns + timing.compute_ns for timing in timings]
    assert before < begins[0] < ends[0] < begins[1] < ends[1] < begins[2] < ends[2] < after


@pytest.mark.parametrize("positions", [0, (1 << 40) + 1])
def test_room_that_makes_no_sense_is_refused_by_name(random_store, tmp_path, positions):
    with pipeline(random_store, [0, 6], tmp_path) as (stage,):
        with pytest.raises(NodeError, match=f"cache_positions is {positions}; it must be from 1"):
            load_stage(
                random_store, stage, None, EPOCH + 1, replace(LIMITS, cache_positions=positions)
            )
        with RawSession([stage]) as line:
            assert len(line.step((1, 0, [1]))) == 1


def test_texts_together_may_fill_the_room_and_pass_it_no_further(random_store, tmp_path):
    with pipeline(random_store, [0, 2, 6], tmp_path) as stages:
        for stage, following in zip(stages, [stages[1], None], strict=True):
            limits = replace(LIMITS, cache_positions=192)
            load_stage(random_store, stage, following, EPOCH + 1, limits)
        with RawSession(stages, epoch=EPOCH + 1) as line:
            line.step((1, 0, [5] * 128), (2, 0, [5] * 64))
            line.step((1, 0, [5] * 64))
            line.step((2, 64, [5] * 64))
            line.send((1, 64, [5]))
            with pytest.raises(NodeError, match="would hold 256 positions"):
                line.failure()

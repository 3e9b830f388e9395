"""Vectors of texts: the states of one stage that reads row by row, whatever the split."""

from dataclasses import replace

import numpy as np
import pytest

from pi_cluster.cluster.errors import NodeError
from pi_cluster.coordinator.finish_reason import FinishReason
from pi_cluster.coordinator.generation import GenerationOptions
from pi_cluster.coordinator.pooling import Pooling
from pi_cluster.coordinator.scheduling.cache_limits import CacheLimits
from pi_cluster.coordinator.served_model import ServedModel
from pi_cluster.protos import pi_cluster_pb2 as pb
from pi_cluster.transformer.cache import CacheRoom
from pi_cluster.transformer.limits import Limits
from pi_cluster.transformer.sampling_settings import SamplingSettings
from pi_cluster.transformer.stage import Chunk
from tests.support.raw_session import RawSession
from tests.support.serving import Line, prompt_of, whole_model
from tests.support.worker_servers import pipeline

VOCAB, STEP_ROWS = 130, 64
LIMITS = CacheLimits(20, 20 * 256, 256, (CacheRoom(32, 256),), STEP_ROWS)
OF_STAGES = Limits(STEP_ROWS, LIMITS.max_sequences, 1024, LIMITS.cache_positions)
OTHERS = GenerationOptions(SamplingSettings(temperature=1.5, seed=3), 30)


@pytest.fixture(scope="module", params=[[0, 6], [0, 2, 4, 6]], ids=["one stage", "three stages"])
def line(request, random_store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stages")
    with pipeline(random_store, request.param, folder, OF_STAGES) as stages:
        whole = whole_model(random_store, OF_STAGES)
        model = ServedModel(VOCAB, 1, frozenset(), None, dim=whole.config.dim)
        yield Line(stages, model, LIMITS, whole)


def vector_row_by_row(line, prompt, pooling):
    states = []
    for position, token in enumerate(prompt):
        hidden = line.whole.embed(np.array([token]))
        hidden = line.whole.forward([Chunk(1, position, 1)], hidden)
        states.append(line.whole.final_norm(hidden)[0].astype(np.float64))
    total = states[-1]
    if pooling is Pooling.MEAN:
        total = np.zeros_like(total)
        for state in states:
            total = total + state
    return (total / np.sqrt(np.sum(total * total))).astype(np.float32)


@pytest.mark.parametrize("pooling", list(Pooling))
def test_a_vector_is_that_of_one_stage_whoever_else_is_served(line, pooling):
    prompt = prompt_of(4, 150)
    wanted = vector_row_by_row(line, prompt, pooling)
    with line.served() as scheduler:
        for chunk_size in (None, 1, 7, 64):
            options = GenerationOptions(max_tokens=1, chunk_size=chunk_size, pooling=pooling)
            mate = scheduler.submit(prompt_of(8, 20), OTHERS)
            twins = [scheduler.submit(prompt, options) for _ in range(2)]
            for one in twins:
                assert list(one) == [] and one.finish_reason is FinishReason.LENGTH
                assert np.array_equal(one.pooled.vector(), wanted)
            list(mate)


def test_a_text_that_is_held_already_gives_the_same_mean(line):
    prompt = prompt_of(5, 60)
    wanted = vector_row_by_row(line, prompt, Pooling.MEAN)
    with line.served() as scheduler:
        list(scheduler.submit(prompt, OTHERS))
        options = GenerationOptions(max_tokens=1, pooling=Pooling.MEAN)
        one = scheduler.submit(prompt, options)
        assert list(one) == [] and np.array_equal(one.pooled.vector(), wanted)
        last = scheduler.submit(prompt, GenerationOptions(max_tokens=1, pooling=Pooling.LAST))
        assert list(last) == [] and last.measurement.cached_tokens > 0


def test_a_chat_is_gone_on_with_behind_more_texts_than_there_is_room_for(line):
    talk, few = prompt_of(3, 60), replace(line.limits, max_sequences=4, cache_positions=4 * 256)
    with line.served(limits=few) as scheduler:
        for _ in range(2):
            talk += [*scheduler.submit(talk, OTHERS), 9]
        options = GenerationOptions(max_tokens=1, pooling=Pooling.LAST, one_off=True)
        texts = [prompt_of(100 + number, 90) for number in range(12)]
        vectors = [scheduler.submit(text, options) for text in texts]
        for text, one in zip(texts, vectors, strict=True):
            assert list(one) == []
            wanted = vector_row_by_row(line, text, Pooling.LAST)
            assert np.array_equal(one.pooled.vector(), wanted)
        third = scheduler.submit(talk, OTHERS)
        list(third)
        assert third.measurement.cached_tokens >= len(talk) - 2


def test_states_that_are_asked_for_as_logits_are_refused(line):
    with RawSession(line.stages) as session, pytest.raises(NodeError, match="as if they were"):
        session.send_chunk(
            pb.Chunk(sequence=1, rows=1, logit_rows=1, candidates=3, state=True), [5]
        )
        session.failure()

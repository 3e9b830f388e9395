"""How likely texts are: what one stage that reads row by row says, whatever the split."""

import numpy as np
import pytest

from pi_cluster.coordinator.finish_reason import FinishReason
from pi_cluster.coordinator.generation import GenerationOptions
from pi_cluster.coordinator.scheduling.cache_limits import CacheLimits
from pi_cluster.coordinator.scoring import Scoring
from pi_cluster.coordinator.served_model import ServedModel
from pi_cluster.transformer.cache import CacheRoom
from pi_cluster.transformer.limits import Limits
from pi_cluster.transformer.sampling import log_sum_exp
from pi_cluster.transformer.sampling_settings import SamplingSettings
from pi_cluster.transformer.stage import Chunk
from tests.support.serving import Line, prompt_of, whole_model
from tests.support.stages import run_step
from tests.support.worker_servers import pipeline

VOCAB, STEP_ROWS = 130, 64
LIMITS = CacheLimits(20, 20 * 256, 256, (CacheRoom(32, 256),), STEP_ROWS)
OF_STAGES = Limits(STEP_ROWS, LIMITS.max_sequences, 1024, LIMITS.cache_positions)
OTHERS = GenerationOptions(SamplingSettings(temperature=1.5, seed=3), 30)


@pytest.fixture(
    scope="module",
    params=[[0, 6], [0, 3, 6], [0, 2, 4, 6]],
    ids=["one stage", "two stages", "three stages"],
)
def line(request, random_store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stages")
    with pipeline(random_store, request.param, folder, OF_STAGES) as stages:
        model = ServedModel(VOCAB, 1, frozenset(), None)
        yield Line(stages, model, LIMITS, whole_model(random_store, OF_STAGES))


def logits_row_by_row(line, ids):
    rows = [
        run_step([line.whole], [Chunk(1, position, 1)], np.array([token]))[1][0]
        for position, token in enumerate(ids)
    ]
    return np.stack(rows)


@pytest.mark.parametrize("count", [1, 70, 149])
def test_scores_and_logits_are_those_of_one_stage_whoever_else_is_served(line, count):
    ids = prompt_of(4, 150)
    prompt, scored = ids[:-1], ids[-count:]
    logits = logits_row_by_row(line, prompt)[-count:]
    wanted = [float(row[i]) - log_sum_exp(row) for row, i in zip(logits, scored, strict=True)]
    with line.served() as scheduler:
        for chunk_size in (None, 1, 7, 64):
            seen = np.zeros_like(logits)

            def see(first, rows, seen=seen):
                seen[first : first + len(rows)] = rows

            asked = [
                GenerationOptions(
                    max_tokens=1, chunk_size=chunk_size, scoring=Scoring(scored, VOCAB, on_logits)
                )
                for on_logits in (None, see)
            ]
            mate = scheduler.submit(prompt_of(8, 20), OTHERS)
            for one in [scheduler.submit(prompt, options) for options in asked]:
                assert list(one) == [] and one.finish_reason is FinishReason.LENGTH
                assert one.scored.logprobs == wanted
            list(mate)
            assert np.array_equal(seen, logits)


def test_a_text_that_is_held_already_is_scored_from_its_beginning(line):
    ids = prompt_of(5, 60)
    options = GenerationOptions(max_tokens=1, scoring=Scoring(ids[1:], VOCAB))
    with line.served() as scheduler:
        first = scheduler.submit(ids[:-1], options)
        assert list(first) == []
        list(scheduler.submit(ids[:-1], OTHERS))
        second = scheduler.submit(ids[:-1], options)
        assert list(second) == [] and second.scored.logprobs == first.scored.logprobs
    assert len(first.scored.logprobs) == 59

"""What is asked of each chunk of a text that is scored, and what of the answers is believed."""

import numpy as np
import pytest

from pi_cluster.cluster.errors import NodeError
from pi_cluster.coordinator.generation import GenerationOptions
from pi_cluster.coordinator.scoring import Scored, Scoring
from pi_cluster.coordinator.steps import RowLogits, StepChunk
from pi_cluster.transformer.allowed import only
from pi_cluster.transformer.errors import ModelError, SettingsError

VOCAB = 40


def test_rows_that_are_scored_are_asked_for_their_ids_alone():
    scoring = Scoring([7, 8, 9], VOCAB)  # behind the rows 2, 3 and 4 of a prompt of 5
    asked = [
        scoring.asked_of(StepChunk(1, start, [0] * rows), 5)
        for start, rows in ((0, 2), (0, 3), (3, 1), (2, 3), (0, 5))
    ]
    assert [chunk.logit_rows for chunk in asked] == [0, 1, 1, 3, 3]
    for chunk, ids in zip(asked, ([], [7], [8], [7, 8, 9], [7, 8, 9]), strict=True):
        assert list(chunk.allowed) == [only(token_id, VOCAB) for token_id in ids]
        assert (chunk.candidates, chunk.log_sum) == (1, True)


def test_all_logits_are_asked_for_where_somebody_looks_at_them():
    chunk = Scoring([7, 8], VOCAB, lambda *_: None).asked_of(StepChunk(1, 0, [0] * 4), 4)
    assert (chunk.logit_rows, chunk.candidates, chunk.log_sum) == (2, 0, True)
    assert not chunk.allowed


@pytest.mark.parametrize(
    ("vocab_size", "on_logits", "rows"),
    [
        *((32_000, None, 512), (151_936, None, 441), (1 << 30, None, 1)),
        *((32_000, print, 65), (151_936, print, 13), (1 << 30, print, 1)),
    ],
)
def test_a_step_s_rows_bring_and_send_back_8_mib_at_most(vocab_size, on_logits, rows):
    options = GenerationOptions(scoring=Scoring([1], vocab_size, on_logits))
    assert options.most_step_rows == rows
    smaller = GenerationOptions(scoring=Scoring([1], vocab_size, on_logits), chunk_size=1)
    assert smaller.most_step_rows == 1


@pytest.mark.parametrize(("ids", "said"), [([], "nothing"), ([VOCAB], "40"), ([3, -1], "-1")])
def test_what_cannot_be_scored_is_refused_by_name(ids, said):
    with pytest.raises(SettingsError, match=said):
        Scoring(ids, VOCAB)


def row(ids, logits, log_sum):
    ids = None if ids is None else np.array(ids, np.int32)
    return RowLogits(1, 0, ids, np.array(logits, np.float32), log_sum)


def test_a_probability_is_what_the_logit_lacks_of_the_sum():
    seen = []
    scored = Scored(Scoring([2, 0, 1], 3, lambda first, logits: seen.append((first, logits))))
    scored.add([row(None, [1, 2, 3], 4.0), row(None, [4, 5, 6], 7.0)], "a node")
    scored.add([], "a node")
    scored.add([row(None, [7, 8, 9], 10.0)], "a node")
    assert scored.logprobs == [-1.0, -3.0, -2.0]
    assert [(first, logits.tolist()) for first, logits in seen] == [
        *((0, [[1, 2, 3], [4, 5, 6]]), (2, [[7, 8, 9]])),
    ]
    alone = Scored(Scoring([2], VOCAB))
    alone.add([row([2], [3], 4.0)], "a node")
    assert alone.logprobs == [-1.0]


@pytest.mark.parametrize(
    ("on_logits", "answer", "error", "said"),
    [
        (None, row([5], [1], 2.0), NodeError, "pi1 answered for another id"),
        (None, row([2, 5], [1, 0], 2.0), NodeError, "pi1 answered for another id"),
        (None, row(None, [1] * VOCAB, 9.0), NodeError, "pi1 answered for another id"),
        (None, row([2], [1], 0.5), NodeError, "pi1 answered with a probability above 1"),
        (None, row([2], [1], np.nan), ModelError, "NaN or infinite"),
        (None, row([2], [-np.inf], 1.0), ModelError, "NaN or infinite"),
        (print, row(None, [1] * (VOCAB - 1), 9.0), NodeError, "pi1 answered with 39 of 40 logits"),
        (print, row([2], [1], 2.0), NodeError, "pi1 answered with 1 of 40 logits"),
        (print, row(None, [np.nan] + [1] * (VOCAB - 1), 9.0), ModelError, "NaN or infinite"),
    ],
)
def test_answers_to_another_question_and_no_numbers_are_refused(on_logits, answer, error, said):
    with pytest.raises(error, match=said):
        Scored(Scoring([2], VOCAB, on_logits)).add([answer], "pi1")

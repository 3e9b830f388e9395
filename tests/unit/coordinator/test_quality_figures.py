"""Perplexity, divergence and their standard errors: by hand, and by llama.cpp's own formulas."""

import math

import numpy as np
import pytest

from pi_cluster.coordinator.evaluating.divergence import (
    Compared,
    Comparison,
    divergence,
    log_softmax,
    together,
)
from pi_cluster.coordinator.evaluating.figures import Estimate, Quality
from pi_cluster.coordinator.evaluating.passages import Passage
from pi_cluster.transformer.errors import ModelError


def test_a_perplexity_by_hand():
    # Two tokens of probability 1/2 and 1/8: their mean is 2 bits, their deviation ln 4 / sqrt 2.
    found = Quality.of([[math.log(1 / 2)], [math.log(1 / 8)]], context=16)
    assert (found.passages, found.context, found.tokens, found.against) == (2, 16, 2, None)
    assert found.perplexity.value == pytest.approx(4)
    assert found.perplexity.standard_error == pytest.approx(4 * math.log(2))


def test_a_divergence_by_hand():
    half = np.log(np.array([0.5, 0.5]))
    uneven = np.log(np.array([0.75, 0.25]))
    assert divergence(half, uneven) == pytest.approx(0.5 * math.log(4 / 3))
    assert divergence(uneven, half) == pytest.approx(0.75 * math.log(1.5) - 0.25 * math.log(2))
    assert divergence(half, half) == 0


def test_rounding_makes_no_divergence_negative():
    logits = np.random.default_rng(1).normal(0, 5, 30_000).astype(np.float32)
    for number in range(50):
        near = log_softmax(np.nextafter(logits, np.float32(number), dtype=np.float32))
        assert divergence(log_softmax(logits), near) >= 0


def random_comparison(count=400):
    draw = np.random.default_rng(3)
    logprobs, theirs = -draw.gamma(2, 1, count), -draw.gamma(2, 1, count)
    return logprobs, Compared(theirs, draw.gamma(0.5, 0.1, count), draw.random(count) < 0.8)


def test_all_figures_are_those_of_the_formulas_of_llama_cpp():
    logprobs, compared = random_comparison()
    found = Quality.of([logprobs[:150], logprobs[150:]], 512, compared)
    n, nll, base = len(logprobs), -logprobs, -compared.logprobs

    def mean_and_uncertainty(values):
        mean = values.sum() / n
        return mean, math.sqrt(((values**2).sum() / n - mean**2) / (n - 1))

    mean, error = mean_and_uncertainty(nll)
    base_mean, base_error = mean_and_uncertainty(base)
    covariance = ((nll * base).sum() / n - mean * base_mean) / (n - 1)
    ratio_error = math.sqrt(error**2 + base_error**2 - 2 * covariance)
    same = compared.is_same_top.mean()
    kld, kld_error = mean_and_uncertainty(compared.divergences)
    by_size = sorted(compared.divergences)

    def percentile(fraction):
        at = fraction * (n - 1)
        low = int(at)
        return by_size[low] + (at - low) * (by_size[min(low + 1, n - 1)] - by_size[low])

    against = found.against
    for estimate, value, spread in (
        (found.perplexity, math.exp(mean), math.exp(mean) * error),
        (against.perplexity, math.exp(base_mean), math.exp(base_mean) * base_error),
        (
            against.perplexity_ratio,
            math.exp(mean - base_mean),
            math.exp(mean - base_mean) * ratio_error,
        ),
        (against.divergence, kld, kld_error),
        (against.same_top, same, math.sqrt(same * (1 - same) / (n - 1))),
    ):
        assert estimate.value == pytest.approx(value, rel=1e-9)
        assert estimate.standard_error == pytest.approx(spread, rel=1e-6)
    assert against.divergence_median == pytest.approx((by_size[199] + by_size[200]) / 2)
    assert against.divergence_p90 == pytest.approx(percentile(0.9))
    assert against.divergence_p99 == pytest.approx(percentile(0.99))
    assert against.divergence_max == by_size[-1]


def test_a_single_token_has_no_spread():
    assert Quality.of([[-1.0]], 16).perplexity == Estimate(math.exp(1), 0.0)


def test_what_cannot_be_told_as_a_number_is_a_fault_of_the_model():
    with pytest.raises(ModelError, match="impossible"):
        Quality.of([[-1e30, -1e30]], 16)


class Table:
    """A reference whose logits of each row are known, and which counts how many it gives."""

    def __init__(self, logits):
        self._logits = logits
        self.most_rows = 0

    def states(self, ids):
        return np.arange(len(ids), dtype=np.float32)[:, None]

    def logits(self, states):
        self.most_rows = max(self.most_rows, len(states))
        return self._logits[states[:, 0].astype(int)]


PASSAGE = Passage([1, *range(2, 17)])  # rows 8 to 14 are scored


def test_rows_are_compared_with_the_reference_s_own_a_few_at_a_time():
    draw = np.random.default_rng(5)
    reference, ours = (draw.normal(0, 3, (15, 40)).astype(np.float32) for _ in range(2))
    ours[9] = reference[9]
    table = Table(reference)
    comparison = Comparison(PASSAGE, table)
    for first in (0, 3, 6, 3):  # a lost session has rows come again
        comparison(first, ours[8 + first : min(11 + first, 15)])
    found = together([comparison.compared])
    assert table.most_rows == 3
    for number, row in enumerate(range(8, 15)):
        p, q = (np.exp(x[row].astype(float)) for x in (reference, ours))
        p, q = p / p.sum(), q / q.sum()
        assert found.divergences[number] == pytest.approx((p * np.log(p / q)).sum(), abs=1e-12)
        assert found.logprobs[number] == pytest.approx(np.log(p[PASSAGE.ids[row + 1]]))
        assert found.is_same_top[number] == (p.argmax() == q.argmax())
    assert found.divergences[1] == 0 and found.divergences[2] > 0.1


def test_a_reference_without_numbers_is_named():
    logits = np.zeros((15, 40), np.float32)
    logits[8, 3] = np.nan
    with pytest.raises(ModelError, match="the reference produced NaN"):
        Comparison(PASSAGE, Table(logits))(0, np.zeros((1, 40), np.float32))

"""How likely the model found what it said."""

from dataclasses import dataclass

import numpy as np

from pi_cluster.coordinator.steps import RowLogits

MAX_ALTERNATIVES = 20


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """One id of an answer with its log-probability, and what else was likely there.

    Natural logarithms of the model's own distribution: before temperature, top-k and the like, and
    before any penalty or constraint. Under a constraint ``top`` has allowed ids alone.
    """

    id: int
    logprob: float
    top: tuple[tuple[int, float], ...]
    """The likeliest ids, each with its log-probability, best first."""


def token_logprobs(row: RowLogits, token: int, alternatives: int) -> TokenLogprobs:
    """Of an id that was drawn from a row whose ``log_sum`` is known."""
    ids, logits = row.candidates.ids, row.candidates.logits
    logprob = float(logits[np.flatnonzero(ids == token)[0]]) - row.log_sum
    best = zip(ids[:alternatives].tolist(), logits[:alternatives].tolist(), strict=True)
    return TokenLogprobs(token, logprob, tuple((i, logit - row.log_sum) for i, logit in best))

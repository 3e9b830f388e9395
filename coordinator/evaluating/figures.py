"""What scored tokens come to: means, with standard errors as llama.cpp's perplexity tool has them.

Tokens count as independent, which those of one text are not quite: a standard error says how far
another text of this kind might lead, and not more.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from pi_cluster.coordinator.evaluating.divergence import Compared
from pi_cluster.transformer.errors import ModelError

Doubles = npt.NDArray[np.float64]

_MOST_NATS = 700.0  # of which the exponential is a number still


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure of a sample, and its standard error; that is 0 for a sample of one."""

    value: float
    standard_error: float

    @classmethod
    def mean_of(cls, values: Doubles) -> Self:
        """The mean of at least one value."""
        count = len(values)
        spread = float(np.std(values, ddof=1)) if count > 1 else 0.0
        return cls(float(np.mean(values)), spread / math.sqrt(count))

    def exponential(self) -> "Estimate":
        """``exp`` of it, to first order. Raises ``ModelError`` where that is beyond all bounds."""
        if self.value > _MOST_NATS:
            raise ModelError(
                "the model finds this text impossible: its weights are damaged; check the store's "
                "files"
            )
        value = math.exp(self.value)
        return Estimate(value, value * self.standard_error)


@dataclass(frozen=True, slots=True)
class Distance:
    """How far the model is from a reference on the same tokens; divergences in nats."""

    perplexity: Estimate
    """The reference's own."""
    perplexity_ratio: Estimate
    """The model's over the reference's, paired token by token."""
    divergence: Estimate
    """Mean Kullback-Leibler divergence from the reference's distributions."""
    divergence_median: float
    divergence_p90: float
    divergence_p99: float
    divergence_max: float
    same_top: Estimate
    """Share of the tokens for which the likeliest one is the reference's, 0 to 1."""

    @classmethod
    def of(cls, logprobs: Doubles, compared: Compared) -> Self:
        """Sum up the model's log-probabilities beside what was ``compared``."""
        each = compared.divergences
        median, p90, p99, largest = (float(one) for one in np.percentile(each, (50, 90, 99, 100)))
        return cls(
            Estimate.mean_of(-compared.logprobs).exponential(),
            Estimate.mean_of(compared.logprobs - logprobs).exponential(),
            Estimate.mean_of(each),
            *(median, p90, p99, largest),
            Estimate.mean_of(compared.is_same_top.astype(np.float64)),
        )


@dataclass(frozen=True, slots=True)
class Quality:
    """How well a model does on a text."""

    passages: int
    context: int
    """Tokens of each passage."""
    tokens: int
    """That were scored, of all passages."""
    perplexity: Estimate
    against: Distance | None = None

    @classmethod
    def of(
        cls, scores: Sequence[Sequence[float]], context: int, compared: Compared | None = None
    ) -> Self:
        """Sum up the log-probabilities of each passage's scored tokens."""
        logprobs = np.concatenate([np.array(one, np.float64) for one in scores])
        return cls(
            passages=len(scores),
            context=context,
            tokens=len(logprobs),
            perplexity=Estimate.mean_of(-logprobs).exponential(),
            against=Distance.of(logprobs, compared) if compared else None,
        )

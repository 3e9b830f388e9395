"""How far a model's distributions are from a reference's, row by row."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from pi_cluster.coordinator.evaluating.passages import Passage
from pi_cluster.transformer.errors import ModelError
from pi_cluster.transformer.sampling import log_sum_exp

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]


class Reference(Protocol):
    """A model that is taken for right. Any thread may ask."""

    def states(self, ids: Sequence[int]) -> Floats:
        """Hidden states behind the last layer of a text. Shapes: ``(n,)`` -> ``(n, dim)``."""
        ...

    def logits(self, states: Floats) -> Floats:
        """Final norm and head. Shapes: ``(rows, dim)`` -> ``(rows, vocab_size)``."""
        ...


@dataclass(frozen=True, slots=True)
class Compared:
    """Each scored token of some text: natural logarithms, in nats. Shapes: all ``(n,)``."""

    logprobs: Doubles
    """By the reference."""
    divergences: Doubles
    """Kullback-Leibler divergence of the model's distribution from the reference's."""
    is_same_top: npt.NDArray[np.bool_]
    """Whether the likeliest token is the same one."""


class Comparison:
    """Compares the rows of a passage as they come, and keeps none of their logits.

    Of the reference it holds the hidden states of the scored rows; their logits are computed a few
    rows at a time. So memory grows neither with the vocabulary's size times the passage's length,
    nor with the text.
    """

    def __init__(self, passage: Passage, reference: Reference) -> None:
        """Has the reference read the passage."""
        count = len(passage.scored)
        self._ids = passage.scored
        self._reference = reference
        self._states = reference.states(passage.prompt)[-count:].copy()
        self.compared = Compared(np.zeros(count), np.zeros(count), np.zeros(count, np.bool_))
        """What is known so far; rows that come again leave it as it was."""

    def __call__(self, first: int, logits: Floats) -> None:
        """The model's logits before the scored token ``first`` and before those that follow it.

        Shape: ``(rows, vocab_size)``. Raises ``ModelError`` where the reference's are no numbers.
        """
        wanted = self._reference.logits(self._states[first : first + len(logits)])
        for number, (theirs, ours) in enumerate(zip(wanted, logits, strict=True), first):
            if not np.isfinite(theirs).all():
                raise ModelError("the reference produced NaN or infinite logits: verify its store")
            likely, found = log_softmax(theirs), log_softmax(ours)
            self.compared.logprobs[number] = likely[self._ids[number]]
            self.compared.divergences[number] = divergence(likely, found)
            self.compared.is_same_top[number] = theirs.argmax() == ours.argmax()


def log_softmax(logits: Floats) -> Doubles:
    """Natural logarithms of the probabilities, as a last stage would tell them, to the bit.

    Shapes: ``(vocab_size,)`` -> the same.
    """
    logarithms: Doubles = logits.astype(np.float64) - log_sum_exp(logits)
    return logarithms


def divergence(likely: Doubles, found: Doubles) -> float:
    """``sum p (log p - log q)`` in nats, of two arrays of logarithms; never below 0.

    Rounding alone could make it negative, for distributions that are all but the same.
    """
    return max(0.0, float((np.exp(likely) * (likely - found)).sum()))


def together(parts: Sequence[Compared]) -> Compared:
    """Those of some passages, one after another."""
    return Compared(
        np.concatenate([part.logprobs for part in parts]),
        np.concatenate([part.divergences for part in parts]),
        np.concatenate([part.is_same_top for part in parts]),
    )

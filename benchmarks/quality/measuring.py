"""How far a model is from its reference on some passages, by the product's own figures."""

from collections.abc import Sequence

import numpy as np

from benchmarks.quality.float_model import FloatModel, FloatWeights
from pi_cluster.coordinator.evaluating.divergence import (
    Comparison,
    Reference,
    log_softmax,
    together,
)
from pi_cluster.coordinator.evaluating.figures import Quality
from pi_cluster.coordinator.evaluating.passages import Passage
from pi_cluster.transformer.arithmetic import Array

_ROWS = 64  # whose logits are in memory at once


class Remembered:
    """A reference that has read the passages already: only its head is computed again."""

    def __init__(self, reference: Reference, passages: Sequence[Passage]) -> None:
        self._reference = reference
        self._states = {
            tuple(passage.prompt): reference.states(passage.prompt) for passage in passages
        }

    def states(self, ids: Sequence[int]) -> Array:
        """As ``Reference.states``, of one of the passages."""
        return self._states[tuple(ids)]

    def logits(self, states: Array) -> Array:
        """As ``Reference.logits``."""
        return self._reference.logits(states)


def measure(model: Reference, reference: Reference, passages: Sequence[Passage]) -> Quality:
    """Read each passage with the model and compare its scored tokens with the reference's."""
    scores, compared = [], []
    for passage in passages:
        comparison = Comparison(passage, reference)
        states = model.states(passage.prompt)[-len(passage.scored) :]
        logprobs = []
        for first in range(0, len(states), _ROWS):
            logits = model.logits(states[first : first + _ROWS])
            comparison(first, logits)
            ids = passage.scored[first : first + _ROWS]
            logprobs += [log_softmax(row)[id_] for row, id_ in zip(logits, ids, strict=True)]
        scores.append(logprobs)
        compared.append(comparison.compared)
    return Quality.of(scores, len(passages[0].ids), together(compared))


def second_moments(
    weights: FloatWeights, passages: Sequence[Passage]
) -> tuple[dict[str, Array], int]:
    """Mean squares of each matrix's inputs, column by column, and of how many positions."""
    sums: dict[str, Array] = {}

    def add(name: str, rows: Array) -> None:
        squares = np.square(rows).sum(axis=0)
        sums[name] = sums[name] + squares if name in sums else squares

    model = FloatModel(weights, add)
    for passage in passages:
        model.states(passage.prompt)
    positions = sum(len(passage.prompt) for passage in passages)
    return {name: total / np.float32(positions) for name, total in sums.items()}, positions
